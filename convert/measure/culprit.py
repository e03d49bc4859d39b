"""Whose quantization turns the embedding: the noise that each class of tensors, and each block, adds when it alone is quantized.

Noise is 1 - cosine between the final embedding of the simulated network (`convert/stages/simulate.py`) and of the float one, mean over
images. Classes are the tensors' kinds (`scores`, `gelu`, `stream`), a norm's taken together, and the weights. Shares do not add up:
errors interact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.probabilities import seen
from calibration.ranges import Grid, kind
from convert.stages import simulate
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Progress

INPUT = "image"  # enters exactly, so it can do no harm


@dataclass(frozen=True, slots=True)
class Share:
    """One class or block: 1 - cosine with it alone quantized, and with all but it."""

    name: str
    alone: float
    without: float


@dataclass(frozen=True, slots=True)
class Culprits:
    """1 - cosine with everything quantized, and every class's and block's share, the largest first."""

    everything: float
    classes: tuple[Share, ...]
    blocks: tuple[Share, ...]


def tensor_class(role: str) -> str:
    """`block_03/norm_1/square` -> `norm`, `block_03/query/weight` -> `weight`, `embed/patch` -> `patch`."""
    if role.endswith("/weight"):
        return "weight"
    return "norm" if "norm_" in role or "/spread/" in role else kind(role)


def measure(
    stages: Sequence[Stage],
    grids: Mapping[str, Grid],
    batches: Sequence[Tensor],
    progress: Progress,
    codes: Mapping[str, NDArray[np.int8]] | None = None,
) -> Culprits:
    """The shares over batches of images [n, H, W, 3] in 0..1; `codes` are the weights of layers that are rounded already."""
    tower, exits = stages[0].tower, tuple(stage.part.blocks_done for stage in stages[:-1])
    exact = simulate.run(stages, batches, None)

    def noise(chosen: simulate.Chosen) -> float:
        rounded = build_stages(simulate.quantized_weights(tower, chosen, codes), exits)
        found = simulate.run(rounded, batches, simulate.quantizing_tap(grids, chosen))
        return float(1 - torch.nn.functional.cosine_similarity(found, exact).mean())

    def share(name: str, belongs: simulate.Chosen) -> Share:
        return Share(name, noise(belongs), noise(lambda role: not belongs(role)))

    final = f"stage_{len(stages) - 1}/"
    read = [role for role in seen(grids) if not role.startswith("stage_") or role.startswith(final)]
    classes = sorted({tensor_class(role) for role in read} - {INPUT} | {"weight"})
    blocks = [f"block_{number:02d}" for number in range(1, len(tower.blocks) + 1)]
    jobs: list[tuple[str, simulate.Chosen]] = [(name, lambda role, name=name: tensor_class(role) == name) for name in classes]  # type: ignore[misc]
    jobs += [(name, lambda role, name=name: role.startswith(name)) for name in ["embed", *blocks]]  # type: ignore[misc]
    shares = [share(*job) for job in progress.over(jobs, len(jobs), "classes and blocks, each alone")]
    by_share = sorted(shares[: len(classes)], key=lambda found: -found.alone)
    return Culprits(noise(simulate.everything), tuple(by_share), tuple(shares[len(classes) :]))
