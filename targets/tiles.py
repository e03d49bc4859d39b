"""How many of the rows that an int8 kernel computes are tokens: it takes them by tiles, and one that lacks some costs as much."""

from __future__ import annotations

from dataclasses import dataclass

ENOUGH = 0.95  # of the rows; what is less gets a sentence


@dataclass(frozen=True, slots=True)
class Tiles:
    """`tokens` rows in tiles of `tile_rows`: the share of the computed rows that are tokens, and the next lower count that fills all."""

    tokens: int
    tile_rows: int
    filled: float
    fuller: int

    @property
    def sentence(self) -> str:
        """In words, empty where enough is filled."""
        if self.filled >= ENOUGH:
            return ""
        fuller = f"; {self.fuller} would fill them whole" if self.fuller else ""
        return f"{self.tokens} tokens fill {100 * self.filled:.0f} % of the rows of the int8 kernel's tiles of {self.tile_rows}{fuller}."


def tiles(tokens: int, tile_rows: int) -> Tiles | None:
    """The tiles that so many tokens, at least one, take; None where no tile is known (`tile_rows` 0). `fuller` is 0 below one tile."""
    if not tile_rows:
        return None
    return Tiles(tokens, tile_rows, tokens / (-(-tokens // tile_rows) * tile_rows), tokens // tile_rows * tile_rows)
