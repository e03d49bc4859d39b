"""The mean of several towers' weights: better than each of them where all come from the same start (model soups, arXiv 2203.05482)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.recipe.start import POSITIONS, stretched


def soup(shares: Mapping[str, float], known: Mapping[str, Mapping[str, Tensor]], side: int) -> dict[str, Tensor]:
    """sum of share * weights over the named ones; position tables are stretched to `side` patches a side before they are summed."""
    total: dict[str, Tensor] = {}
    for name, share in shares.items():
        state = {**known[name], POSITIONS: stretched(known[name][POSITIONS], 1 + side * side)}
        for key, value in state.items():
            total[key] = share * value + total[key] if key in total else share * value
    return total
