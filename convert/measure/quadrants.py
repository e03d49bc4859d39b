"""Right or wrong at the exit taken, right or wrong at full depth: the four quadrants, and whether their imbalance is more than chance.

*Rescued*: right at the exit, wrong at full depth; *harmed*: the inverse. The paper ("The Rescue Effect", arXiv 2605.26415) reports them for
INT8 alone; the same in float tells how much of a rescue is quantization and how much "overthinking", which exits cure without it (PABEE,
arXiv 2006.04152).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tflite_runtime_app.exits.observed import Observed

DRAWS = 2000
LEVEL = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Quadrants:
    """Shares of n images, each with its bootstrap 95 % interval; `gain` is rescued less harmed; `p_value` McNemar's, exact, two-sided."""

    images: int
    both: float
    rescued: float
    harmed: float
    neither: float
    both_interval: Interval
    rescued_interval: Interval
    harmed_interval: Interval
    neither_interval: Interval
    gain: float
    gain_interval: Interval
    p_value: float
    accuracy: float
    accuracy_full: float
    share_of_macs: float


def quadrants(seen: Observed, left: NDArray[np.int64], seed: int = 0) -> Quadrants:
    """The quadrants of images with known labels, for the stages that they left at. Raises ValueError without labels."""
    if seen.wanted is None:
        raise ValueError("quadrants need the right labels of the images")
    early, full = seen.answers(left) == seen.wanted, seen.top1[:, -1] == seen.wanted
    parts = (early & full, early & ~full, ~early & full, ~early & ~full)
    counts = np.array([int(part.sum()) for part in parts])
    images = len(seen)
    draws = np.random.default_rng(seed).multinomial(images, counts / images, DRAWS) / images
    shares = [float(count / images) for count in counts]
    intervals = [_interval(draws[:, k]) for k in range(4)]
    return Quadrants(
        images=images,
        both=shares[0],
        rescued=shares[1],
        harmed=shares[2],
        neither=shares[3],
        both_interval=intervals[0],
        rescued_interval=intervals[1],
        harmed_interval=intervals[2],
        neither_interval=intervals[3],
        gain=shares[1] - shares[2],
        gain_interval=_interval(draws[:, 1] - draws[:, 2]),
        p_value=mcnemar(int(counts[1]), int(counts[2])),
        accuracy=float(early.mean()),
        accuracy_full=float(full.mean()),
        share_of_macs=seen.share(left),
    )


def mcnemar(rescued: int, harmed: int) -> float:
    """The exact two-sided p-value that so uneven a split of the images whose answers changed side is chance (McNemar 1947)."""
    from scipy.stats import binomtest

    changed = rescued + harmed
    return float(binomtest(rescued, changed, 0.5).pvalue) if changed else 1.0


def _interval(draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
