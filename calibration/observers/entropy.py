"""The range whose eight-bit form tells most of the distribution: the smallest Kullback-Leibler divergence, as TensorRT's calibrator has it.

For a range, P is the histogram inside it, what lies outside added to its end bins; Q is what 256 codes keep of the histogram inside:
each code's count spread evenly over those of its bins that P fills. KL(P, Q) = sum P log(P / Q), both normalised. P knows of the clipped
values and Q does not, so clipping costs; P's shape within a code is lost in Q, so a coarse step costs (Migacz, "8-bit Inference with
TensorRT", GTC 2017, there for one side; here both ends move).
The ends are searched in turn, each over `SHRINK` with the other one held, until neither moves; a range has at least one bin a code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.relevance import Reader
from calibration.statistics import Statistics

SHRINK = np.geomspace(1.0, 1 / 32, 41)
CODES = 256
ROUNDS = 4  # of both ends in turn; two are the rule


def choose(statistics: Statistics, reader: Reader | None = None) -> tuple[float, float]:
    """The range of the smallest divergence that the search meets, never beyond zero and what was seen, whoever reads it."""
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    centres, counts = statistics.centres, statistics.histogram

    def cost(low_factor: float, high_factor: float) -> float:
        return divergence(centres, counts, low * low_factor, high * high_factor)

    ends, best = (1.0, 1.0), cost(1.0, 1.0)
    for _ in range(ROUNDS):
        before = ends
        for candidates in ([(f, ends[1]) for f in SHRINK if low < 0], [(ends[0], f) for f in SHRINK if high > 0]):
            costs = [cost(*candidate) for candidate in candidates]
            if costs and min(costs) < best:
                best = min(costs)
                ends = candidates[int(np.argmin(costs))]
        if ends == before:
            break
    return float(low * ends[0]), float(high * ends[1])


def divergence(centres: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float) -> float:
    """KL(P, Q) of the range; infinite where it cannot be judged: under a bin a code, or clipped values beside codes that hold none."""
    half = 0.501 * (centres[1] - centres[0])  # of a bin; a value on an edge may have been counted on either side of it
    first, last = np.searchsorted(centres, (low - half, high + half))
    inside = counts[first:last]
    if last - first < CODES or not inside.any():
        return np.inf
    clipped = inside.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    codes = np.rint((centres[first:last] - low) * ((CODES - 1) / (high - low))).clip(0, CODES - 1).astype(np.intp)
    filled = clipped > 0
    bins = np.bincount(codes[filled], minlength=CODES)
    kept = np.bincount(codes, inside, minlength=CODES) / np.maximum(bins, 1)
    p, q = clipped[filled] / clipped.sum(), kept[codes[filled]] / inside.sum()
    return float((p * np.log(p / q)).sum()) if (q > 0).all() else np.inf
