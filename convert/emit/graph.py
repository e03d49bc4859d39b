"""The rewritten tower, cut and converted: float stages, the float file made of them, and its integer form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.stored import Stored
from convert.emit.export import stages_to_float_tflite
from convert.emit.integer import IntegerFile, corrected, make_integer
from convert.emit.roles import recognise
from convert.model.load import ClipModel
from convert.passes import gelu_form
from convert.rewrites import Entry, Rewrite, rewrite
from convert.stages.layers import codes_of
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Progress


@dataclass(frozen=True, slots=True)
class Graph:
    """The rewritten float stages and the float file made of them, its tensors recognised; `runtime` is what will run the integer file."""

    stages: tuple[Stage, ...]
    log: tuple[Entry, ...]
    float_file: bytes
    by_name: dict[str, str]
    difference: float
    runtime: str = "litert"

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the file holds."""
        return frozenset(self.by_name.values())


def make_graph(
    model: ClipModel,
    ladder: tuple[Rewrite, ...],
    exits: tuple[int, ...],
    means: Mapping[str, NDArray[np.float32]],
    seed: int,
    progress: Progress,
    runtime: str = "litert",
) -> Graph:
    """Rewrite, cut, convert, recognise."""
    stages, log = rewritten_stages(model, ladder, exits, means)
    float_file = stages_to_float_tflite(stages, progress)
    found = recognise(float_file, stages, seed)
    progress.step(f"{len(found.by_name)} tensors recognised, off by at most {found.difference:.1e}")
    return Graph(stages, log, float_file, found.by_name, found.difference, runtime)


def rewritten_stages(
    model: ClipModel, ladder: tuple[Rewrite, ...], exits: tuple[int, ...], means: Mapping[str, NDArray[np.float32]]
) -> tuple[tuple[Stage, ...], tuple[Entry, ...]]:
    """The stages of the tower after the ladder, and the log of its steps."""
    tower, log = rewrite(model.tower(), {role: torch.from_numpy(mean) for role, mean in means.items()}, ladder)
    return build_stages(tower, exits), log


def integer_file(graph: Graph, stored: Stored) -> IntegerFile:
    """The full-integer file with the calibration's ranges, stream, rounded weights and corrected biases; for tflm without GELU."""
    codes = codes_of(graph.stages, stored.rounding)
    plain = make_integer(graph.float_file, graph.by_name, stored.grids, stored.largest, stored.stream, codes)
    finished = corrected(plain, stored.corrections)
    return gelu_form.apply(finished) if graph.runtime == "tflm" else finished
