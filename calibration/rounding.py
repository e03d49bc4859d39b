"""Weights rounded so that their layer's output is right, not each weight by itself: GPTQ (arXiv 2210.17323).

A layer y = W x with W [out, in] is rounded column by column to steps of its rows, s = max|w| / 127; what rounding one column did to y is
made up for by the columns not yet rounded, as far as inputs go together. With H = E[x x^T] and U the upper Cholesky factor of H^-1:

    q_j = round(w_j / s),   e = (w_j - s q_j) / U_jj,   w_k <- w_k - e U_jk for k > j

The columns with the strongest inputs come first. H is that of the integer network's inputs: what rounding adds to an input of step d,
d^2 / 12 on the diagonal, is known, and damps the inverse as much as is right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
LEAST_DAMPING = 1e-4  # of the mean diagonal, so that inputs that never move can be inverted


@dataclass(slots=True)
class Moments:
    """E[x x^T] of the inputs of the layers asked for, summed batch by batch; feed it rows [n, in], then read `result`."""

    layers: frozenset[str]
    _sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def __call__(self, layer: str, rows: NDArray[np.float32]) -> None:
        if layer in self.layers:
            self._sums[layer] = self._sums.get(layer, 0.0) + (rows.T @ rows).astype(np.float64)
            self._rows[layer] = self._rows.get(layer, 0) + len(rows)

    def result(self) -> dict[str, NDArray[np.float64]]:
        """Layer -> [in, in]."""
        return {layer: total / self._rows[layer] for layer, total in self._sums.items()}


def steps(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The step of every row of a weight [out, in], as float32 [out, 1]: the largest of a row is code 127."""
    largest = np.abs(weight).max(1, keepdims=True)
    found: NDArray[np.float32] = np.maximum(largest / np.float32(127), np.float32(1e-12)).astype(np.float32)
    return found


def nearest(weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each weight's own nearest code."""
    codes: NDArray[np.int8] = np.clip(np.rint(weight / steps(weight)), -127, 127).astype(np.int8)
    return codes


def gptq(weight: NDArray[np.float32], moments: NDArray[np.float64], input_step: float) -> NDArray[np.int8]:
    """Codes int8 [out, in] for a weight whose inputs have these moments [in, in] and lie on a grid of that step."""
    diagonal = np.diag(moments)
    damping = max(input_step**2 / 12, LEAST_DAMPING * float(diagonal.mean()), 1e-20)
    order = np.argsort(-diagonal, kind="stable")
    damped = moments[np.ix_(order, order)] + damping * np.eye(len(order))
    upper = _inverse_factor(damped).astype(np.float32)
    rest, step = np.ascontiguousarray(weight[:, order].T), steps(weight)[:, 0]  # [in, out]: a column of W is a row here
    codes = np.zeros(rest.shape, np.int8)
    for start in range(0, len(rest), BLOCK):
        stop = min(start + BLOCK, len(rest))
        errors = np.zeros((stop - start, rest.shape[1]), np.float32)
        for j in range(start, stop):
            codes[j] = np.clip(np.rint(rest[j] / step), -127, 127)
            errors[j - start] = (rest[j] - codes[j] * step) / upper[j, j]
            rest[j + 1 : stop] -= upper[j, j + 1 : stop, None] * errors[j - start]
        rest[stop:] -= upper[start:stop, stop:].T @ errors
    found = np.empty_like(codes)
    found[order] = codes
    return np.ascontiguousarray(found.T)


def _inverse_factor(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper U with U^T U = M^-1: a Cholesky factor from below, M = R R^T with R upper, and U = R^-1; a third of inverting M first."""
    from scipy.linalg.lapack import dtrtri

    upper = np.ascontiguousarray(np.linalg.cholesky(matrix[::-1, ::-1])[::-1, ::-1])
    inverse: NDArray[np.float64] = dtrtri(upper, lower=0)[0]
    return inverse
