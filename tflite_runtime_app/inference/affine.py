"""Between real values and int8 codes: real = scale * (code - zero_point)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import TensorSpec


def quantize(values: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[np.int8]:
    """The codes nearest to `values`, halves to even, clipped to -128 … 127; same shape as `values`."""
    codes = np.rint(np.asarray(values, np.float64) / spec.scale) + spec.zero_point
    clipped: npt.NDArray[np.float64] = np.clip(codes, -128, 127)
    return clipped.astype(np.int8)


def dequantize(codes: npt.NDArray[np.int8], spec: TensorSpec) -> npt.NDArray[np.float32]:
    """The real values that `codes` stand for, float32, same shape."""
    return _reals(spec.scale, spec.zero_point).take(codes.view(np.uint8))


@lru_cache(maxsize=64)
def _reals(scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """The real value of every code by the code's byte: to look them up takes half as long as to compute them."""
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    return (codes.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
