"""What is remembered of a tensor over all calibration images: extremes and a histogram, of constant size however many there are.

The histogram spans -limit .. limit with `BINS` equal bins; the limit is a power of two and doubles when a value falls outside, which
merges bins in pairs and loses no count.
The moving average follows the extremes of each call: their plain mean over the first 1 / AVERAGING calls, an exponential average after.
TensorFlow's MovingAverageQuantize and torch's MovingAverageMinMaxObserver start from the first batch alone, which suits thousands of
training steps; of a calibration's dozen batches it would be nine tenths of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 8192
CHUNK = 1 << 15  # values counted at a time: what lies between two passes over them stays in the processor's cache
AVERAGING = 0.01  # weight of a new call's extremes in the long run, as torch's observer has it


@dataclass(frozen=True, slots=True)
class Statistics:
    """Extremes over all values, their total weight (their number, if none weighs more), and their histogram over -limit .. limit.

    `average` are the moving averages of the smallest and the largest value of each of the `calls`.
    """

    minimum: float
    maximum: float
    count: float
    limit: float
    histogram: NDArray[np.float64]
    average: tuple[float, float]
    calls: int

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
        raise ValueError("a tensor holds values that are not finite; the model or the image is broken")
    needed = 2.0 ** np.ceil(np.log2(max(-low, high, 1e-6) * 1.0001))
    if old is None:
        old = Statistics(low, high, 0, float(needed), np.zeros(BINS), (low, high), 0)
    histogram, limit = old.histogram, old.limit
    while limit < needed:
        quarter = np.zeros(BINS // 4)
        histogram = np.concatenate([quarter, histogram.reshape(-1, 2).sum(1), quarter])
        limit *= 2
    counts = _counts(flat, limit, None if weights is None else np.ascontiguousarray(weights).ravel())
    share = max(AVERAGING, 1 / (old.calls + 1))
    average = (old.average[0] + share * (low - old.average[0]), old.average[1] + share * (high - old.average[1]))
    extremes = min(old.minimum, low), max(old.maximum, high)
    return Statistics(*extremes, old.count + float(counts.sum()), limit, histogram + counts, average, old.calls + 1)


def _counts(flat: NDArray[np.float32], limit: float, weights: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """The histogram of values that all lie within the limit, so that no bin needs to be clipped."""
    counts = np.zeros(BINS)
    for start in range(0, flat.size, CHUNK):
        bins = flat[start : start + CHUNK] + np.float32(limit)
        bins *= np.float32(BINS / (2 * limit))
        weight = None if weights is None else weights[start : start + CHUNK]
        counts += np.bincount(bins.astype(np.int32), weight, minlength=BINS)
    return counts
