"""Grids of attention's probabilities in two int8 terms (`convert/passes/two_term_probabilities.py` says how they are made).

TensorFlow Lite's SOFTMAX puts every probability on steps of 1/256. Over many tokens most of them are a step or less: with 197 tokens an
even row holds 1.3 steps each. Here p = low + high, low = min(p, 1/15) on steps of 1/3825, high what is above that on steps of 1/255.
255 is a multiple of 15, so both ends are codes, and high is zero wherever low is not full.

p is exp(s - max s - L) with L = log sum exp(s - max s). L is made of factors that an int8 grid holds well, with base = T^(1/3):

    L = sum over k = 0, 1, 2 of  log min(max(S / base^k, 1), base),    S between 1 and T

The steps of L's grid fit log 15, so that L - log 15 is exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid, never_negative

RATIO = 15  # of the two steps
FACTORS = 3
OPERATORS = frozenset({"ELU", "LOG", "REDUCE_MAX"})  # what kernels must have beside those of any network
LEAST = 7.3  # exp(-LEAST) is a sixth of low's step; what is below it is zero in any case
LESS_ONE = Grid(float(np.float32(1 / 255)), 127)  # of -1 .. 0, what ELU gives for what EXP would give: the same codes
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


def negative(end: float) -> Grid:
    """The grid of -end .. 0."""
    return Grid(float(np.float32(end / 255)), 127)


def log_sum(tokens: int) -> tuple[Grid, Grid]:
    """The grids of L and of L - log RATIO: one step, of which log RATIO is a multiple."""
    steps = min(int(255 * math.log(RATIO) / math.log(max(tokens, 2))), 255)
    scale = float(np.float32(math.log(RATIO) / steps))
    return Grid(scale, -128), Grid(scale, steps - 128)


def _of(role: str, grids: Mapping[str, Grid], tokens: int) -> list[tuple[str, Grid]]:
    block = role.removesuffix("/softmax")
    scores = grids.get(f"{block}/scores_scaled") or grids[f"{block}/scores"]
    value, base, (logarithm, shifted) = grids[f"{block}/value"], base_of(tokens), log_sum(tokens)
    made = {
        "row_largest": scores,
        "below_largest": Grid(scores.scale, 127),
        "exponential": LESS_ONE,
        "sum_factors": never_negative(base),
        "log_factors": never_negative(math.log(base)),
        "log_sum": logarithm,
        "log_sum_low": shifted,
        "log_low": negative(LEAST),
        "log_high": negative(math.log(RATIO)),
        "less_one_low": LESS_ONE,
        "less_one_high": LESS_ONE,
        "probability_low": never_negative(1.0),
        "probability_high": never_negative(1.0),
        "value_share": Grid(float(np.float32(value.scale / RATIO)), 0),
        "mixed_low": grids[f"{block}/mixed"],
        "mixed_high": grids[f"{block}/mixed"],
    }
    return [(f"{block}/{name}", made[name]) for name in _ADDED]


_ADDED = (
    "row_largest",
    "below_largest",
    "exponential",
    "sum_factors",
    "log_factors",
    "log_sum",
    "log_sum_low",
    "log_low",
    "log_high",
    "less_one_low",
    "less_one_high",
    "probability_low",
    "probability_high",
    "value_share",
    "mixed_low",
    "mixed_high",
)
