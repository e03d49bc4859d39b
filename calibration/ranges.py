"""From what was seen of each tensor to the grid that it is quantized on. Every scale of the integer file is decided here.

real value = scale * (code - zero_point), code in -128 .. 127. The last part of a role (`block_03/key`) is its kind; some kinds
have a grid of their own:
- image: scale 1/255, zero point -128, so that a pixel byte enters as byte - 128;
- softmax, gelu_gate: scale 1/256, zero point -128, which TensorFlow Lite prescribes for SOFTMAX and LOGISTIC;
- key, value: symmetric (zero point 0), because XNNPACK takes a product of two activations only then;
- stream, middle: never symmetric; a token's squared length is this tensor times itself, which LiteRT's plain kernel does four times as
  fast as XNNPACK, and XNNPACK leaves it alone when its zero point is not 0;
- square, variance, energy, variance_eps, energy_eps, mean_square, power, rsqrt: never negative, so zero is the lowest code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.observers import OBSERVERS, Observer
from calibration.relevance import READERS
from calibration.statistics import Statistics

FIXED = {"image": (1 / 255, -128), "softmax": (1 / 256, -128), "gelu_gate": (1 / 256, -128)}
SYMMETRIC = frozenset({"key", "value"})
ASYMMETRIC = frozenset({"stream", "middle"})
NON_NEGATIVE = frozenset({"square", "variance", "variance_eps", "mean_square", "power", "rsqrt", "energy", "energy_eps"})
SMALLEST_STEP = 1e-8
TOLERABLE = 0.05  # mean square of step / energy: three percent of error in 1/|h|
SECOND_ENDS = (128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4)  # codes of the coarse grid


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
        return never_negative(high)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _step((high - low) / 255)
    zero_point = int(np.clip(round(-128 - low / scale), -128, 127))
    return Grid(scale, zero_point or 1 if name in ASYMMETRIC else zero_point)


def never_negative(end: float) -> Grid:
    """The grid of 0 .. end, zero its lowest code."""
    return Grid(_step(max(end, 0.0) / 255), -128)


def decide(statistics: Mapping[str, Statistics], observers: Observer | Mapping[str, str]) -> dict[str, Grid]:
    """A grid for every role that was seen, by one observer or by the one named for the role's kind.

    Errors are judged as the role's reader sees them. A kind that no name is given for has a grid that nothing seen can change.
    """

    def grid(role: str, seen: Statistics) -> Grid:
        name = kind(role)
        if name in FIXED:
            return Grid(*FIXED[name])
        observer = OBSERVERS[observers[name]] if isinstance(observers, Mapping) else observers
        return grid_for(role, *observer(seen, READERS.get(name)))

    found = {role: grid(role, seen) for role, seen in statistics.items()}
    return {**found, **_second_grids(statistics, found)}


def _second_grids(statistics: Mapping[str, Statistics], grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """`…/energy_fine` for every token energy whose quiet tokens one grid would leave too few codes (`convert/passes/two_ranges.py`).

    A token of energy E on steps s has 1/|h| wrong by about s / 7 E. The finer grid ends at code n of the coarse one, n chosen for the least
    mean square of s / E over all tokens. Where that is under `TOLERABLE` on one grid, a second is not worth its six operators: on a
    model whose norms stay below it, it changed nothing.
    """
    found = {}
    for role, seen in statistics.items():
        if kind(role) != "energy":
            continue
        filled = (seen.histogram > 0) & (seen.centres > 0)
        energy, weight, step = seen.centres[filled], seen.histogram[filled], grids[role].scale

        def error(
            end: float, energy: NDArray[np.float64] = energy, weight: NDArray[np.float64] = weight, step: float = step
        ) -> float:
            steps = np.where(energy < end, end / 255, step)
            return float((weight * np.minimum(steps / energy, 1.0) ** 2).sum())

        if error(0.0) > TOLERABLE * weight.sum():
            best = min((step * n for n in SECOND_ENDS), key=error)
            found[f"{role}_fine"] = never_negative(best)
    return found


def _step(scale: float) -> float:
    return float(np.float32(max(scale, SMALLEST_STEP)))


def largest(statistics: Mapping[str, Statistics]) -> dict[str, float]:
    """The largest absolute value seen of every role."""
    return {role: max(abs(seen.minimum), abs(seen.maximum)) for role, seen in statistics.items()}
