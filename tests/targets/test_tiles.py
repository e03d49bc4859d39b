"""Rows in a kernel's tiles: what a token count leaves empty, and the next lower one that leaves nothing."""

import pytest

from targets.profile import load, names
from targets.tiles import tiles


@pytest.mark.parametrize(
    ("tokens", "rows", "filled", "fuller"),
    [
        (37, 7, 37 / 42, 35),
        (35, 7, 1.0, 35),
        (50, 7, 50 / 56, 49),
        (197, 7, 197 / 203, 196),
        (37, 4, 37 / 40, 36),
        (5, 7, 5 / 7, 0),
    ],
)
def test_how_much_of_their_tiles_tokens_fill(tokens, rows, filled, fuller):
    found = tiles(tokens, rows)
    assert (found.filled, found.fuller) == (pytest.approx(filled), fuller)


def test_what_is_less_than_enough_is_told_in_one_sentence():
    assert tiles(37, 7).sentence == "37 tokens fill 88 % of the rows of the int8 kernel's tiles of 7; 35 would fill them whole."
    assert tiles(5, 7).sentence == "5 tokens fill 71 % of the rows of the int8 kernel's tiles of 7."
    assert tiles(197, 7).sentence == "", "97 % are enough"


def test_every_board_says_how_its_kernel_takes_rows():
    found = {name: load(name).tile_rows for name in names()}
    assert {rows for name, rows in found.items() if name.startswith("mcu-")} == {0}
    assert [found[name] for name in ("host", "rpi", "rpizero2w", "rpi3", "rpi4", "rpi5")] == [7, 4, 4, 4, 2, 4]
    assert tiles(37, load("mcu-esp32p4").tile_rows) is None


def test_no_square_grid_with_a_class_token_fills_tiles_of_3_4_or_7():
    """What docs/targets.md says of choosing an image's size."""
    assert [rows for rows in range(2, 8) if all(tiles(side**2 + 1, rows).filled < 1 for side in range(1, 200))] == [3, 4, 6, 7]
