"""The integer network in float arithmetic: every result is rounded to its grid, every weight to eight bits, a batch at a time.

Not bit for bit what the file computes (the file rounds accumulators once more), but close enough to tell which choice is better: its
noise is compared with the file's in the tests. It runs a batch of pictures in the time that the file takes for a few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from calibration.ranges import Grid, kind
from convert.stages import Stage
from convert.tower import Block, Linear, Tower

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


def quantized_weights(tower: Tower, chosen: Chosen = everything) -> Tower:
    """The tower with the weights of the chosen roles (`block_03/query/weight`, `embed/patch/weight`) on their grids."""

    def layer(old: Linear, role: str) -> Linear:
        return Linear(weight_on_grid(old.weight), old.bias) if chosen(f"{role}/weight") else old

    def block(old: Block, role: str) -> Block:
        names = {"query": "query", "key": "key", "value": "value", "out": "attention", "fc_1": "fc_1", "fc_2": "mlp"}
        layers: dict[str, Any] = {name: layer(getattr(old, name), f"{role}/{part}") for name, part in names.items()}
        return dataclasses.replace(old, **layers)

    embed = chosen("embed/tokens/weight")
    return dataclasses.replace(
        tower,
        patch=layer(tower.patch, "embed/patch"),
        position=constant_on_grid(tower.position) if embed else tower.position,
        blocks=tuple(block(b, f"block_{number:02d}") for number, b in enumerate(tower.blocks, start=1)),
        projection=layer(tower.projection, "head/embedding"),
    )


def quantizing_tap(grids: Mapping[str, Grid], chosen: Chosen = everything) -> Callable[[str, Tensor], Tensor | None]:
    """A tap that rounds the chosen roles to their grids and leaves the others alone.

    A variance is at least one step before RSQRT (`passes/norm_floor.py`). A stream in two terms is left out by giving it no grid.
    """

    def tap(role: str, x: Tensor) -> Tensor | None:
        grid = grids.get(role)
        if grid is None or not chosen(role):
            return None
        return on_grid(x, grid).clamp_min(grid.scale) if kind(role) == "variance_eps" else on_grid(x, grid)

    return tap


def run(stages: Sequence[Stage], batches: Iterable[Tensor], tap: Callable[[str, Tensor], Tensor | None] | None) -> Tensor:
    """The final embeddings [n, E] of batches [b, H, W, 3] in 0..1, with `tap` on every result."""
    found = []
    with torch.no_grad():
        for value in batches:
            for stage in stages:
                stage.tap = tap
                try:
                    value = stage(value)[0]
                finally:
                    stage.tap = None
            found.append(value)
    return torch.cat(found)
