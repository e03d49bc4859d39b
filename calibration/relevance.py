"""What of a tensor's value matters to whoever reads it: errors are judged after this function, not on the tensor itself.

fc_1 is read by GELU alone. GELU is flat below -3, so its range may end there and the step gets finer for the values that count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erf to 1.5e-7, without a Python call for every value.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P = 0.3275911


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x Phi(x); quick GELU differs from it by less than 0.021, which is nothing to a choice of range."""
    size = np.abs(x) / math.sqrt(2.0)
    t = 1.0 / (1.0 + _ERF_P * size)
    erf = np.copysign(1.0 - np.polyval((*_ERF[::-1], 0.0), t) * np.exp(-(size**2)), x)
    value: NDArray[np.float64] = x * 0.5 * (1.0 + erf)
    return value


READERS: dict[str, Reader] = {"fc_1": gelu}
