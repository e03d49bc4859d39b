"""What of a tensor's value matters to whoever reads it: errors are judged after this function, not on the tensor itself.

fc_1 is read by GELU alone. GELU is flat below -3, so its range may end there and the step gets finer for the values that count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_ERF = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x Phi(x); quick GELU differs from it by less than 0.021, which is nothing to a choice of range."""
    value: NDArray[np.float64] = x * 0.5 * (1.0 + _ERF(x / math.sqrt(2.0)))
    return value


READERS: dict[str, Reader] = {"fc_1": gelu}
