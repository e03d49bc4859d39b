"""Embeddings and label vectors as directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST = 1e-12


def unit_rows(vectors: NDArray[Any]) -> NDArray[Any]:
    """The vectors [..., E] at length 1; one of zeros stays as it is."""
    unit: NDArray[Any] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), SHORTEST)
    return unit
