"""The range is what was seen: nothing is clipped, and one outlier widens the step for all."""

from __future__ import annotations

from calibration.relevance import Reader
from calibration.statistics import Statistics


def choose(statistics: Statistics, reader: Reader | None = None) -> tuple[float, float]:
    """Smallest and largest value seen, whoever reads it."""
    return statistics.minimum, statistics.maximum
