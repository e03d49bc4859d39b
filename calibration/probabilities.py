"""Grids of attention's probabilities in two int8 terms (`convert/passes/two_term_probabilities.py` says how they are made).

TensorFlow Lite's SOFTMAX puts every probability on steps of 1/256. Over many tokens most of them are a step or less: with 197 tokens an
even row holds 1.3 steps each. Here p = low + high: low = min(p, 1/9) on steps of 1/2295, high what is above that, on steps of 1/255.
Nine is odd, so the grids nest: whatever rounds to a coarse step lies less than half a step from it on the fine grid too, and high is
zero wherever low is not full.

p is exp(s - max s - L) with L = log sum exp(s - max s). L is made of factors that an int8 grid holds well, with base = T^(1/3):

    L = sum over k = 0, 1, 2 of  log min(max(S / base^k, 1), base),    S between 1 and T
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid

RATIO = 9  # of the two steps
FACTORS = 3
OPERATORS = frozenset({"EXP", "LOG", "REDUCE_MAX"})  # what kernels must have beside those of any network
LEAST = 9.5  # exp(-LEAST) is a sixth of low's step; what is below it is zero in any case
LOG_PROBABILITY = Grid(float(np.float32(LEAST / 255)), 127)
ATTENTION = re.compile(r"(block_\d+)/softmax")


def base_of(tokens: int) -> float:
    """What a factor of the sum is at most."""
    return float(tokens ** (1 / FACTORS))


def shares(tokens: int) -> NDArray[np.float64]:
    """What the sum is multiplied by for each factor."""
    return base_of(tokens) ** -np.arange(FACTORS, dtype=np.float64)


def seen(grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """The grids without those that only attention in two terms has: what calibration saw."""
    return {role: grid for role, grid in grids.items() if role.rpartition("/")[2] not in _ADDED}


def with_two_terms(grids: Mapping[str, Grid], tokens: int) -> dict[str, Grid]:
    """All grids, with those that the blocks' attention needs for probabilities in two terms."""
    return {**grids, **{name: grid for role in grids if ATTENTION.fullmatch(role) for name, grid in _of(role, grids, tokens)}}


def any_in_two_terms(grids: Mapping[str, Grid]) -> bool:
    """Whether some block's probabilities have two terms."""
    return any(role.endswith("/probability_low") for role in grids)


def in_two_terms(grids: Mapping[str, Grid], block: str) -> bool:
    """Whether the block's probabilities have two terms."""
    return f"{block}/probability_low" in grids


def _of(role: str, grids: Mapping[str, Grid], tokens: int) -> list[tuple[str, Grid]]:
    block = role.removesuffix("/softmax")
    scores = grids.get(f"{block}/scores_scaled") or grids[f"{block}/scores"]
    base = base_of(tokens)
    return [
        (f"{block}/row_largest", scores),
        (f"{block}/below_largest", Grid(scores.scale, 127)),
        (f"{block}/exponential", positive(1.0)),
        (f"{block}/sum_factors", positive(base)),
        (f"{block}/log_factors", positive(math.log(base))),
        (f"{block}/log_sum", positive(math.log(tokens))),
        (f"{block}/log_probability", LOG_PROBABILITY),
        (f"{block}/probability", positive(1.0)),
        (f"{block}/probability_low", positive(1 / RATIO)),
        (f"{block}/probability_high", positive(1.0)),
        (f"{block}/mixed_low", grids[f"{block}/mixed"]),
        (f"{block}/mixed_high", grids[f"{block}/mixed"]),
    ]


_ADDED = frozenset(
    {
        "row_largest",
        "below_largest",
        "exponential",
        "sum_factors",
        "log_factors",
        "log_sum",
        "log_probability",
        "probability",
        "probability_low",
        "probability_high",
        "mixed_low",
        "mixed_high",
    }
)


def positive(end: float) -> Grid:
    """The grid of 0 .. end."""
    return Grid(float(np.float32(end / 255)), -128)
