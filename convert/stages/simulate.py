"""The integer network in float arithmetic: every result is rounded to its grid, every weight to eight bits, a batch at a time.

Not bit for bit what the file computes (the file rounds accumulators once more), but close enough to tell which choice is better: its
noise is compared with the file's in the tests. It runs a batch of images in the time that the file takes for a few.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.probabilities import (
    ATTENTION,
    LEAST,
    RATIO,
    base_of,
    in_two_terms,
    log_sum,
    negative,
    shares,
)
from calibration.ranges import Grid, kind, never_negative
from calibration.rounding import steps
from convert.model.tower import Block, Head, Linear, Tower
from convert.stages.run import walk
from convert.stages.stage import Stage, head_role

Chosen = Callable[[str], bool]


def everything(role: str) -> bool:
    """All roles are quantized."""
    return True


def on_grid(x: Tensor, grid: Grid) -> Tensor:
    """x rounded to the grid, halves to even, clipped to its ends."""
    codes = torch.clamp(torch.round(x / grid.scale) + grid.zero_point, -128, 127)
    return (codes - grid.zero_point) * grid.scale


def weight_on_grid(weight: Tensor) -> Tensor:
    """A weight [out, …] on a symmetric int8 grid per output channel, scale max|w| / 127."""
    scale = weight.abs().flatten(1).amax(1).clamp_min(1e-12) / 127
    scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.clamp(torch.round(weight / scale), -127, 127) * scale


def constant_on_grid(values: Tensor) -> Tensor:
    """A constant on one int8 grid."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max((high - low) / 255, 1e-12)
    return on_grid(values, Grid(scale, round(-128 - low / scale)))


def quantized_weights(tower: Tower, chosen: Chosen = everything, codes: Mapping[str, NDArray[np.int8]] | None = None) -> Tower:
    """The tower with the weights of the chosen roles (`block_03/query/weight`, `embed/patch/weight`) on their grids.

    `codes` are those of the layers that have been rounded already (`convert/stages/layers.py`); the others' weights take their nearest.
    """

    def layer(old: Linear, role: str) -> Linear:
        if not chosen(f"{role}/weight"):
            return old
        return Linear(weight_on_grid(old.weight) if role not in given else decoded(old.weight, given[role]), old.bias)

    def decoded(weight: Tensor, found: NDArray[np.int8]) -> Tensor:
        values = torch.from_numpy(found.astype(np.float32) * steps(weight.flatten(1).numpy()))
        if weight.dim() == 2:
            return values
        colours_last = weight.permute(0, 2, 3, 1)  # the patch layer reads its pixels in the order of the image
        return values.reshape(colours_last.shape).permute(0, 3, 1, 2).contiguous()

    given = codes or {}

    def block(old: Block, role: str) -> Block:
        names = {"query": "query", "key": "key", "value": "value", "out": "attention", "fc_1": "fc_1", "fc_2": "mlp"}
        layers: dict[str, Any] = {name: layer(getattr(old, name), f"{role}/{part}") for name, part in names.items()}
        return dataclasses.replace(old, **layers)

    def own(old: Head, role: str) -> Head:
        return old.mapped(lambda name, part: layer(part, f"{role}/{name}"))

    embed = chosen("embed/tokens/weight")
    return dataclasses.replace(
        tower,
        patch=layer(tower.patch, "embed/patch"),
        position=constant_on_grid(tower.position) if embed else tower.position,
        after_norm_pre=None if tower.after_norm_pre is None else layer(tower.after_norm_pre, "block_00/stream"),
        blocks=tuple(block(b, f"block_{number:02d}") for number, b in enumerate(tower.blocks, start=1)),
        projection=layer(tower.projection, "head/embedding"),
        exit_heads={done: own(head, head_role(done)) for done, head in tower.exit_heads.items()},
    )


def quantizing_tap(grids: Mapping[str, Grid], chosen: Chosen = everything) -> Callable[[str, Tensor], Tensor | None]:
    """A tap that rounds the chosen roles to their grids and leaves the others alone.

    A variance is at least one step before RSQRT (`convert/passes/norm_floor.py`), and an energy may have two grids
    (`convert/passes/two_ranges.py`). A stream in two terms is left out by giving it no grid.
    """

    def tap(role: str, x: Tensor) -> Tensor | None:
        grid = grids.get(role)
        if grid is None or not chosen(role):
            return None
        if ATTENTION.fullmatch(role) and in_two_terms(grids, role.removesuffix("/softmax")):
            return probabilities_on_grids(x)
        fine = grids.get(f"{role.removesuffix('_eps')}_fine") if kind(role) in ("energy", "energy_eps") else None
        if fine is not None:
            return torch.where(x < fine.maximum, on_grid(x, fine).clamp_min(fine.scale), on_grid(x, grid))
        return on_grid(x, grid).clamp_min(grid.scale) if kind(role) in ("variance_eps", "energy_eps") else on_grid(x, grid)

    return tap


def probabilities_on_grids(p: Tensor) -> Tensor:
    """Probabilities [..., T] as two int8 terms hold them, rounded wherever the file rounds between a row's scores and its two terms."""
    tokens = p.shape[-1]
    largest, base = p.amax(-1, keepdim=True), base_of(tokens)
    relative = p / largest
    total = on_grid(relative, never_negative(1.0)).sum(-1, keepdim=True)
    factors = on_grid(total * torch.from_numpy(shares(tokens)).to(p.dtype), never_negative(base))
    logarithms = on_grid(torch.log(factors.clamp_min(1.0)), never_negative(math.log(base)))
    logarithm = on_grid(logarithms.sum(-1, keepdim=True), log_sum(tokens)[0])
    logarithms = torch.log(relative.clamp_min(1e-30)) - logarithm
    low = on_grid(torch.exp(on_grid(logarithms + math.log(RATIO), negative(LEAST))), never_negative(1.0)) / RATIO
    high = torch.exp(on_grid(logarithms, negative(math.log(RATIO))))
    return low + on_grid(on_grid(high, never_negative(1.0)) - 1 / RATIO, never_negative(1.0))


def run(stages: Sequence[Stage], batches: Iterable[Tensor], tap: Callable[[str, Tensor], Tensor | None] | None) -> Tensor:
    """The final embeddings [n, E] of batches [b, H, W, 3] in 0..1, with `tap` on every result."""
    return torch.cat([walk(stages, batch, tap)[-1]["embedding"] for batch in batches])
