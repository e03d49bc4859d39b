"""How much of a histogram eight bits tell, bin by bin in plain Python, the divergence itself by scipy."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import entropy


def divergence(counts: np.ndarray, limit: float, low: float, high: float) -> float:
    """KL(P, Q) of clipping a histogram over -limit .. limit to low .. high and coding it in 256 steps of equal width.

    P: the bins that touch the range, everything beyond it in its end bins. Q: each code's own values, spread over its filled bins.
    """
    bins, edges = len(counts), np.linspace(-limit, limit, len(counts) + 1)
    slack = 1e-3 * (edges[1] - edges[0])
    inside = [k for k in range(bins) if edges[k + 1] > low - slack and edges[k] < high + slack]
    if len(inside) < 256:
        return math.inf
    p = {k: float(counts[k]) for k in inside}
    p[inside[0]] += float(counts[: inside[0]].sum())
    p[inside[-1]] += float(counts[inside[-1] + 1 :].sum())
    codes: dict[int, list[int]] = {}
    for k in inside:
        code = round(((edges[k] + edges[k + 1]) / 2 - low) * 255 / (high - low))
        codes.setdefault(min(max(code, 0), 255), []).append(k)
    q = dict.fromkeys(inside, 0.0)
    for members in codes.values():
        filled = [k for k in members if p[k] > 0]
        for k in filled:
            q[k] = sum(float(counts[j]) for j in members) / len(filled)
    return float(entropy([p[k] for k in inside], [q[k] for k in inside]))
