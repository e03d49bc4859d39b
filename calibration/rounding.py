"""GPTQ: the rounding of a layer's weights that changes its outputs least, given what its inputs look like.

Rounding to nearest treats every weight alone. Here columns are rounded in turn and the error made so far is taken out of the columns still
to come: with H = X^T X over calibration inputs X [rows, in] and U the upper Cholesky factor of its inverse,
w_j <- round(w_j),  e = (w_j - round(w_j)) / U_jj,  w_k <- w_k - e U_jk for k > j.   Frantar et al., arXiv 2210.17323.
The grid stays that of rounding to nearest, max|w| / 127 per output channel, and its largest weight keeps code 127: a quantizer that takes
the grid from the largest weight finds exactly these codes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.01  # of H's mean diagonal: inputs that hardly occur must not blow up the inverse
BLOCK = 128


def scales(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """The int8 step of each output channel, max|w| / 127, for weights [out, in]."""
    steps: NDArray[np.float64] = np.maximum(np.abs(weight.astype(np.float64)).max(1), 1e-12) / 127
    return steps


def nearest(weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Codes [out, in] of rounding to nearest."""
    return np.clip(np.rint(weight / scales(weight)[:, None]), -127, 127).astype(np.int8)


def gptq(weight: NDArray[np.float32], second_moment: NDArray[np.float64]) -> NDArray[np.int8]:
    """Codes [out, in] for weights [out, in] whose inputs have the second moment H [in, in]."""
    step = scales(weight)[:, None]
    anchor = np.abs(weight).argmax(1)
    rows = np.arange(len(weight))
    sign = np.sign(weight[rows, anchor])
    upper = _inverse_factor(second_moment)
    left = weight.astype(np.float64) / step
    codes = np.zeros(weight.shape, np.int8)
    for start in range(0, weight.shape[1], BLOCK):
        stop = min(start + BLOCK, weight.shape[1])
        errors = np.zeros((len(weight), stop - start))
        for j in range(start, stop):
            code = np.clip(np.rint(left[:, j]), -127, 127)
            code = np.where(anchor == j, 127 * sign, code)
            codes[:, j] = code
            errors[:, j - start] = (left[:, j] - code) / upper[j, j]
            left[:, j + 1 : stop] -= np.outer(errors[:, j - start], upper[j, j + 1 : stop])
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return codes


def _inverse_factor(second_moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper triangular U with U^T U the inverse of the damped H."""
    size = len(second_moment)
    damped = second_moment + DAMPING * max(float(np.trace(second_moment)) / size, 1e-12) * np.eye(size)
    factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).T
    return factor
