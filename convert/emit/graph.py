"""The rewritten tower, cut and converted: float stages, the float file made of them, and its integer form."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.phases import RangeCalibration, RewriteInputs, WeightCalibration
from convert.emit.export import stages_to_float_tflite
from convert.emit.integer import IntegerFile, make_integer
from convert.emit.roles import recognise
from convert.model.load import ClipModel
from convert.rewrites import Entry, Rewrite
from convert.stages.layers import codes_of
from convert.stages.rewritten import rewritten_stages
from convert.stages.stage import Stage
from convert.support.progress import Progress


@dataclass(frozen=True, slots=True)
class Graph:
    """The rewritten float stages and the float file made of them, its tensors recognised."""

    stages: tuple[Stage, ...]
    log: tuple[Entry, ...]
    float_file: bytes
    by_name: dict[str, str]
    difference: float  # the largest between a tensor and the result that it was recognised as

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the file holds."""
        return frozenset(self.by_name.values())


def make_graph(
    model: ClipModel,
    ladder: tuple[Rewrite, ...],
    exits: tuple[int, ...],
    inputs: RewriteInputs,
    seed: int,
    progress: Progress,
) -> Graph:
    """Rewrite, cut, convert, recognise."""
    stages, log = rewritten_stages(model, ladder, exits, inputs)
    float_file = stages_to_float_tflite(stages, progress)
    found = recognise(float_file, stages, seed)
    progress.step(f"{len(found.by_name)} tensors recognised, off by at most {found.difference:.1e}")
    return Graph(stages, log, float_file, found.by_name, found.difference)


def integer_file(
    graph: Graph, ranges: RangeCalibration, weights: WeightCalibration, stream: str, runtime: str = "litert"
) -> IntegerFile:
    """The graph's full-integer file with these ranges, rounded weights and corrected biases."""
    codes = codes_of(graph.stages, weights.rounding)
    return make_integer(graph.float_file, graph.by_name, ranges, stream, codes, weights.corrections, runtime)
