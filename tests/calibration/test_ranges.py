"""The grids: fixed ones as prescribed, zero always exact, and the range covered."""

import numpy as np
import pytest

from calibration.observers import OBSERVERS
from calibration.ranges import NON_NEGATIVE, SYMMETRIC, Grid, decide, grid_for, kind, never_negative
from calibration.statistics import observe

RANDOM = np.random.default_rng(11)
SWEEP = [
    tuple(sorted(float(x) for x in RANDOM.normal(0, 1, 2) * 10.0 ** RANDOM.uniform(-9, 6, 2) + RANDOM.choice([0, 0, 5, -5])))
    for _ in range(400)
] + [(0.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (3.0, 7.0), (-7.0, -3.0), (-1e-30, 1e-30), (-1.0, 1e-9), (-1e-9, 1.0)]


def test_kind_is_the_last_part():
    assert kind("block_03/norm_1/square") == "square"
    assert kind("image") == "image"


@pytest.mark.parametrize(("role", "scale"), [("image", 1 / 255), ("block_01/softmax", 1 / 256), ("block_07/gelu_gate", 1 / 256)])
def test_prescribed_grids_hold_whatever_was_seen(role, scale):
    for low, high in SWEEP[::40]:
        assert grid_for(role, low, high) == Grid(scale, -128)


def test_a_pixel_byte_enters_as_byte_minus_128():
    grid = grid_for("image", 0.2, 0.9)
    for byte in (0, 1, 128, 255):
        assert round(byte / 255 / grid.scale) + grid.zero_point == byte - 128


@pytest.mark.parametrize("role", sorted({f"block_01/{name}" for name in SYMMETRIC}))
def test_symmetric_kinds_have_zero_point_0_and_cover_both_ends(role):
    for low, high in SWEEP:
        grid = grid_for(role, low, high)
        assert grid.zero_point == 0
        assert grid.scale * 127 >= max(-low, high) * (1 - 1e-6)


@pytest.mark.parametrize("role", sorted({f"block_01/norm_1/{name}" for name in NON_NEGATIVE}))
def test_kinds_that_are_never_negative_start_at_zero(role):
    for low, high in SWEEP:
        grid = grid_for(role, low, high)
        assert (grid.zero_point, grid.minimum) == (-128, 0.0)
        assert grid.maximum >= high * (1 - 1e-6)
        assert grid == never_negative(high), "whoever knows the end gets the same grid"


def test_keys_values_and_variances_are_among_them():
    assert {"key", "value"} <= SYMMETRIC
    assert {"square", "variance", "variance_eps", "rsqrt"} <= NON_NEGATIVE


def test_other_kinds_cover_the_range_and_hold_an_exact_zero():
    """Random ranges over fifteen orders of magnitude: zero is a code, both ends lie within half a step of the grid."""
    for low, high in SWEEP:
        grid = grid_for("block_01/fc_1", low, high)
        assert isinstance(grid.zero_point, int)
        assert -128 <= grid.zero_point <= 127, "zero is a code, so it is held exactly"
        assert grid.minimum <= min(low, 0.0) + 0.501 * grid.scale
        assert grid.maximum >= max(high, 0.0) - 0.501 * grid.scale
        assert grid.scale == float(np.float32(grid.scale)), "a file holds float32"
        assert grid.scale > 0


def test_no_code_is_wasted():
    for low, high in SWEEP:
        grid = grid_for("block_01/fc_1", low, high)
        spread = max(high, 0.0) - min(low, 0.0)
        assert grid.scale * 255 <= spread * (1 + 1e-6) + 1e-5


def test_decide_asks_the_observer_for_every_role():
    values = np.random.default_rng(2).normal(0, 2, 5000).astype(np.float32)
    seen = {role: observe(None, values) for role in ("block_01/key", "block_01/fc_1", "image", "block_01/norm_1/square")}
    for name, observer in OBSERVERS.items():
        found = decide(seen, observer)
        assert set(found) == set(seen), name
        assert found["block_01/key"].zero_point == 0
        assert found["image"] == Grid(1 / 255, -128)
    assert decide(seen, OBSERVERS["min-max"])["block_01/fc_1"] == grid_for("fc_1", float(values.min()), float(values.max()))


def test_decide_asks_each_kind_its_own_observer():
    values = np.random.default_rng(2).standard_t(3, 500_000).astype(np.float32)
    seen = {role: observe(None, values) for role in ("block_01/key", "block_02/key", "block_01/fc_1", "image")}
    found = decide(seen, {"key": "min-max", "fc_1": "percentile"})
    for role, name in (("block_01/key", "min-max"), ("block_02/key", "min-max"), ("block_01/fc_1", "percentile")):
        assert found[role] == decide(seen, OBSERVERS[name])[role]
    assert found["block_01/key"] != decide(seen, OBSERVERS["percentile"])["block_01/key"]
    assert found["image"] == Grid(1 / 255, -128), "fixed, so no observer is asked"
    with pytest.raises(KeyError, match="fc_1"):
        decide(seen, {"key": "mse"})
