"""How a range is chosen from what was seen of a tensor: one file each, `choose(statistics, reader) -> (minimum, maximum)`.

Adding an observer is adding a file and naming it here.
"""

from __future__ import annotations

from typing import Protocol

from calibration.observers import entropy, mean_squared_error, min_max, moving_average, percentile
from calibration.relevance import Reader
from calibration.statistics import Statistics


class Observer(Protocol):
    """Chooses a range from statistics; `reader` is what the tensor's only reader makes of a value, None where that does not matter."""

    def __call__(self, statistics: Statistics, reader: Reader | None = None) -> tuple[float, float]: ...


OBSERVERS: dict[str, Observer] = {
    "min-max": min_max.choose,
    "moving-average": moving_average.choose,
    "percentile": percentile.choose,
    "mse": mean_squared_error.choose,
    "entropy": entropy.choose,
}
