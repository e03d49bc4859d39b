"""Between real values and int8 codes: real = scale * (code - zero_point)."""

from __future__ import annotations

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
    return (codes.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)
