"""The range is what was seen: nothing is clipped, and one outlier widens the step for all."""

from __future__ import annotations

from calibration.statistics import Statistics


def choose(statistics: Statistics) -> tuple[float, float]:
    """Smallest and largest value seen."""
    return statistics.minimum, statistics.maximum
