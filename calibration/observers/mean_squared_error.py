"""The range with the smallest mean squared quantization error: clipping few values may make the step finer for all others.

Error of a range with step s = (max - min) / 255: s^2 / 12 for a value inside (uniform rounding), (distance to the range)^2 for one outside;
summed over the histogram. Searched over ranges shrunk from both ends towards zero, each end on a grid of its own. Where a reader is given,
the error is that of what it makes of the rounded value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.relevance import Reader
from calibration.statistics import Statistics

CODES = np.arange(-128, 128)
SHRINK = np.linspace(1.0, 0.2, 33)
SHRINK_FAR = np.concatenate([SHRINK, np.linspace(0.175, 0.02, 8)])  # a reader may not care for most of one side


def choose(statistics: Statistics, reader: Reader | None = None) -> tuple[float, float]:
    """The best of the shrunken ranges; the full one when nothing is gained."""
    filled = statistics.histogram > 0
    centres, counts = statistics.centres[filled], statistics.histogram[filled].astype(np.float64)
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    if reader is not None:
        return _with_reader(centres, counts, low, high, reader)
    below = np.array([(counts * np.minimum(centres - low * f, 0.0) ** 2).sum() for f in SHRINK])
    above = np.array([(counts * np.maximum(centres - high * f, 0.0) ** 2).sum() for f in SHRINK])
    step = (high * SHRINK[None, :] - low * SHRINK[:, None]) / 255
    error = below[:, None] + above[None, :] + step**2 / 12 * counts.sum()
    best_low, best_high = np.unravel_index(int(error.argmin()), error.shape)
    return low * float(SHRINK[best_low]), high * float(SHRINK[best_high])


def _with_reader(
    centres: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float, reader: Reader
) -> tuple[float, float]:
    """Every pair of ends, its error as the reader sees it: f(rounded x) against f(x)."""
    exact, best = reader(centres), (np.inf, low, high)
    for low_end in low * SHRINK_FAR if low < 0 else [0.0]:
        for high_end in high * SHRINK if high > 0 else [0.0]:
            step = max((high_end - low_end) / 255, 1e-12)
            zero = np.clip(np.round(-128 - low_end / step), -128, 127)
            codes = np.clip(np.round(centres / step) + zero, -128, 127).astype(np.intp)
            error = float((counts * (reader((CODES - zero) * step)[codes + 128] - exact) ** 2).sum())
            if error < best[0]:
                best = (error, float(low_end), float(high_end))
    return best[1], best[2]
