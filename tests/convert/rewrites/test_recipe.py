"""The ladder as a whole: prefixes, what comes after them, and the names that a calibration is known by."""

import pytest

from convert.rewrites import LADDER
from convert.rewrites.recipe import QUANTIZER_STEPS, STEPS, prefix
from convert.support.errors import UsageError


def test_the_whole_ladder_by_default():
    recipe = prefix(None)
    assert recipe.rewrites == LADDER
    assert (recipe.observer, recipe.stream, recipe.rounding, recipe.correction) == ("search", "two_term", True, True)
    assert recipe.names == STEPS


def test_a_prefix_that_ends_with_a_rewrite_is_naive_after_it():
    for count, step in enumerate(LADDER, start=1):
        recipe = prefix(step.name)
        assert recipe.rewrites == LADDER[:count]
        assert (recipe.observer, recipe.stream, recipe.rounding, recipe.correction) == ("min-max", "int8", False, False)


@pytest.mark.parametrize("count", range(1, len(QUANTIZER_STEPS) + 1))
def test_the_quantizers_steps_come_one_by_one(count):
    recipe = prefix(QUANTIZER_STEPS[count - 1])
    assert recipe.rewrites == LADDER
    taken = (recipe.observer == "search", recipe.stream == "two_term", recipe.probabilities, recipe.rounding, recipe.correction)
    assert taken == tuple(k < count for k in range(len(QUANTIZER_STEPS)))
    assert recipe.names == STEPS[: len(LADDER) + count]


def test_the_targets_stream_is_taken_where_the_ladder_gets_that_far():
    assert prefix(None, "int8").stream == "int8"
    assert "two-term-stream" not in prefix(None, "int8").names


def test_an_unknown_step_names_those_that_exist():
    with pytest.raises(UsageError, match=r"input-normalisation, .*rotation, .*bias-correction"):
        prefix("rotatoin")
