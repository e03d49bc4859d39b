"""A head fitted in closed form: ridge regression of the float tower's final embedding on what the exit pools.

min_W sum |W x_i + b - e_i|^2 + penalty |W|^2 over images, x what norm_post makes of the mean patch token, e the unit final embedding. The
penalty is the one of least leave-one-out error, which needs no refitting: r_i / (1 - H_ii) is image i's error without it, H the hat matrix
(Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 2nd ed., 7.10).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from convert.model.tower import Head, Linear
from tflite_runtime_app.bundle.labels import unit

PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-2, 7))


def fit(pooled: NDArray[np.float32], embeddings: NDArray[np.float32]) -> tuple[Head, float]:
    """The head for pooled tokens [n, D] and final embeddings [n, E], and the penalty chosen."""
    x, y = pooled.astype(np.float64), embeddings.astype(np.float64)
    y = unit(y)
    mean_x, mean_y = x.mean(0), y.mean(0)
    left, singular, right = np.linalg.svd(x - mean_x, full_matrices=False)
    turned = left.T @ (y - mean_y)
    penalty = min(PENALTIES, key=lambda p: _left_out(left, singular, turned, y - mean_y, p))
    weight = (right.T @ ((singular / (singular**2 + penalty))[:, None] * turned)).T
    bias = mean_y - weight @ mean_x
    return Head((Linear(torch.from_numpy(weight).float(), torch.from_numpy(bias).float()),)), penalty


def _left_out(
    left: NDArray[np.float64], singular: NDArray[np.float64], turned: NDArray[np.float64], y: NDArray[np.float64], penalty: float
) -> float:
    """The mean squared error of every image, predicted from the others; the mean counts as a degree of freedom."""
    kept = singular**2 / (singular**2 + penalty)
    hat = (left**2 * kept).sum(1) + 1 / len(y)
    residual = (y - left @ (kept[:, None] * turned)) / np.maximum(1 - hat, 1e-9)[:, None]
    return float((residual**2).mean())
