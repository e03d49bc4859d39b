"""From what was seen of each tensor to the grid that it is quantized on. Every scale of the integer file is decided here.

real value = scale * (code - zero_point), code in -128 .. 127. The last part of a role (`block_03/key`) is its kind; some kinds
have a grid of their own:
- image: scale 1/255, zero point -128, so that a pixel byte enters as byte - 128;
- softmax, gelu_gate: scale 1/256, zero point -128, which TensorFlow Lite prescribes for SOFTMAX and LOGISTIC;
- key, value: symmetric (zero point 0), because XNNPACK takes a product of two activations only then;
- square, variance, variance_eps, mean_square, power, rsqrt: never negative, so zero is the lowest code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.observers import Observer
from calibration.relevance import READERS
from calibration.statistics import Statistics

FIXED = {"image": (1 / 255, -128), "softmax": (1 / 256, -128), "gelu_gate": (1 / 256, -128)}
SYMMETRIC = frozenset({"key", "value"})
NON_NEGATIVE = frozenset({"square", "variance", "variance_eps", "mean_square", "power", "rsqrt"})
SMALLEST_STEP = 1e-8


@dataclass(frozen=True, slots=True)
class Grid:
    """The int8 grid of one tensor."""

    scale: float
    zero_point: int

    @property
    def minimum(self) -> float:
        """The value of code -128."""
        return self.scale * (-128 - self.zero_point)

    @property
    def maximum(self) -> float:
        """The value of code 127."""
        return self.scale * (127 - self.zero_point)


def on_grid(values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """The values as their grid holds them: rounded, halves to even, and clipped to its ends."""
    codes = np.clip(np.rint(values.astype(np.float64) / grid.scale) + grid.zero_point, -128, 127)
    values_on_grid: NDArray[np.float32] = ((codes - grid.zero_point) * grid.scale).astype(np.float32)
    return values_on_grid


def kind(role: str) -> str:
    """`block_03/norm_1/square` -> `square`."""
    return role.rsplit("/", 1)[-1]


def grid_for(role: str, low: float, high: float) -> Grid:
    """The grid that covers low .. high under the rules of the role's kind; it always holds an exact zero."""
    name = kind(role)
    if name in FIXED:
        return Grid(*FIXED[name])
    if name in SYMMETRIC:
        return Grid(_step(max(-low, high) / 127), 0)
    if name in NON_NEGATIVE:
        return Grid(_step(max(high, 0.0) / 255), -128)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _step((high - low) / 255)
    return Grid(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def decide(statistics: Mapping[str, Statistics], observer: Observer) -> dict[str, Grid]:
    """A grid for every role that was seen; errors are judged as the role's reader sees them."""
    return {role: grid_for(role, *observer(seen, READERS.get(kind(role)))) for role, seen in statistics.items()}


def _step(scale: float) -> float:
    return float(np.float32(max(scale, SMALLEST_STEP)))


def largest(statistics: Mapping[str, Statistics]) -> dict[str, float]:
    """The largest absolute value seen of every role."""
    return {role: max(abs(seen.minimum), abs(seen.maximum)) for role, seen in statistics.items()}
