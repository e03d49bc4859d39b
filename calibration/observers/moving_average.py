"""The range is the average of the batches' extremes: one batch's outlier moves it little, what every batch reaches stays inside.

`Statistics.average` says how it is averaged; as TensorFlow's MovingAverageQuantize and torch.ao's MovingAverageMinMaxObserver.
"""

from __future__ import annotations

from calibration.relevance import Reader
from calibration.statistics import Statistics


def choose(statistics: Statistics, reader: Reader | None = None) -> tuple[float, float]:
    """The moving averages of the batches' smallest and largest values, whoever reads it."""
    return statistics.average
