"""The range with the smallest mean squared quantization error: clipping few values may make the step finer for all others.

Error of a range with step s = (max - min) / 255: s^2 / 12 for a value inside (uniform rounding), (distance to the range)^2 for one
outside; summed over the histogram. Searched over ranges shrunk from both ends towards zero, each end on a grid of its own.
"""

from __future__ import annotations

import numpy as np

from calibration.statistics import Statistics

SHRINK = np.linspace(1.0, 0.2, 33)


def choose(statistics: Statistics) -> tuple[float, float]:
    """The best of the shrunken ranges; the full one when nothing is gained."""
    centres, counts = statistics.centres, statistics.histogram
    filled = counts > 0
    centres, counts = centres[filled], counts[filled].astype(np.float64)
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    below = np.array([(counts * np.minimum(centres - low * f, 0.0) ** 2).sum() for f in SHRINK])
    above = np.array([(counts * np.maximum(centres - high * f, 0.0) ** 2).sum() for f in SHRINK])
    step = (high * SHRINK[None, :] - low * SHRINK[:, None]) / 255
    error = below[:, None] + above[None, :] + step**2 / 12 * counts.sum()
    best_low, best_high = np.unravel_index(int(error.argmin()), error.shape)
    return low * float(SHRINK[best_low]), high * float(SHRINK[best_high])
