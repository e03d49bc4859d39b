"""The range holds all but the outermost values: one in a hundred thousand is clipped on either side."""

from __future__ import annotations

import numpy as np

from calibration.relevance import Reader
from calibration.statistics import Statistics

CLIPPED = 1e-5  # share of the values beyond either end


def choose(statistics: Statistics, reader: Reader | None = None, clipped: float = CLIPPED) -> tuple[float, float]:
    """The `clipped` and 1 - `clipped` quantiles, to the width of a bin and never beyond what was seen, whoever reads it."""
    below = np.cumsum(statistics.histogram) / max(statistics.count, 1)
    half = statistics.limit / statistics.histogram.size
    low = statistics.centres[int(np.searchsorted(below, clipped, side="right"))] - half
    high = statistics.centres[min(int(np.searchsorted(below, 1 - clipped, side="left")), below.size - 1)] + half
    return max(float(low), statistics.minimum), min(float(high), statistics.maximum)
