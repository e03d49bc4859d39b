"""Where a tower is cut into stages: after the blocks that have an exit behind them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageSplit:
    """Stage `index` runs blocks first .. blocks_done - 1 (counted from 0); `last` marks the one that ends the tower."""

    index: int
    first: int
    blocks_done: int
    last: bool


def split(blocks: int, exits: tuple[int, ...]) -> tuple[StageSplit, ...]:
    """Disjoint stages covering all blocks, cut after each number of blocks in `exits`. Raises ValueError for impossible exits."""
    if list(exits) != sorted(set(exits)) or any(not 0 < e < blocks for e in exits):
        raise ValueError(f"exits must rise and lie between 1 and {blocks - 1}, the blocks before the last; found {list(exits)}")
    edges = (0, *exits, blocks)
    return tuple(StageSplit(i, a, b, b == blocks) for i, (a, b) in enumerate(itertools.pairwise(edges)))


def default_exits(blocks: int) -> tuple[int, ...]:
    """Exits after a third, a half and two thirds of the blocks: 4, 6, 8 of 12."""
    return tuple(sorted({max(1, round(blocks * part)) for part in (1 / 3, 1 / 2, 2 / 3)} - {blocks}))
