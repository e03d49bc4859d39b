"""What is remembered of a tensor over all calibration images: its extremes and a histogram, of constant size however many there are.

The histogram spans -limit .. limit with `BINS` equal bins; the limit is a power of two and doubles when a value falls outside, which
merges bins in pairs and loses no count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 8192


@dataclass(frozen=True, slots=True)
class Statistics:
    """Extremes over all values, their total weight (their number, if none weighs more), and their histogram over -limit .. limit."""

    minimum: float
    maximum: float
    count: float
    limit: float
    histogram: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(BINS) + 0.5) * (2 * self.limit / BINS) - self.limit


def observe(old: Statistics | None, values: NDArray[np.float32], weights: NDArray[np.float32] | None = None) -> Statistics:
    """The statistics of everything seen before and `values`, each counting as its weight says.

    Raises ValueError when a value is not finite.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    low, high = float(flat.min()), float(flat.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("a tensor holds values that are not finite; the model or the picture is broken")
    needed = 2.0 ** np.ceil(np.log2(max(-low, high, 1e-6) * 1.0001))
    if old is None:
        old = Statistics(low, high, 0, float(needed), np.zeros(BINS))
    histogram, limit = old.histogram, old.limit
    while limit < needed:
        quarter = np.zeros(BINS // 4)
        histogram = np.concatenate([quarter, histogram.reshape(-1, 2).sum(1), quarter])
        limit *= 2
    bins = ((flat + np.float32(limit)) * np.float32(BINS / (2 * limit))).astype(np.int32)
    weight = None if weights is None else np.ascontiguousarray(weights).ravel()
    counts = np.bincount(np.clip(bins, 0, BINS - 1), weight, minlength=BINS)
    return Statistics(min(old.minimum, low), max(old.maximum, high), old.count + float(counts.sum()), limit, histogram + counts)
