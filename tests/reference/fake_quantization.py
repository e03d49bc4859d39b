"""Affine int8 quantization of raw data, and the best range by trying all: the yardstick for observers."""

from __future__ import annotations

import numpy as np


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of the data on the 256-step grid of low .. high, zero on the grid, codes clipped."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-12)
    zero = np.clip(np.round(-128 - low / scale), -128, 127)
    codes = np.clip(np.round(values / scale) + zero, -128, 127)
    return float((((codes - zero) * scale - values) ** 2).mean())


def best(values: np.ndarray, shrink: np.ndarray) -> tuple[float, float, float]:
    """(error, low, high) of the best of all ranges whose ends are shrunk from the extremes by factors in `shrink`."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    lows = [low * f for f in shrink] if low < 0 else [0.0]
    highs = [high * f for f in shrink] if high > 0 else [0.0]
    return min((error(values, a, b), a, b) for a in lows for b in highs)
