"""How a range is chosen from what was seen of a tensor: one file each, `choose(statistics) -> (minimum, maximum)`.

Adding an observer is adding a file and naming it here.
"""

from __future__ import annotations

from collections.abc import Callable

from calibration.observers import mean_squared_error, min_max, percentile
from calibration.statistics import Statistics

Observer = Callable[[Statistics], tuple[float, float]]

OBSERVERS: dict[str, Observer] = {
    "min-max": min_max.choose,
    "percentile": percentile.choose,
    "mse": mean_squared_error.choose,
}
