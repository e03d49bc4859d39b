"""The bound against closed forms, scipy, and a simulation of what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tflite_runtime_app.exits.risk import (
    binomial_p_value,
    learn_then_test,
    least_images,
)


@pytest.mark.parametrize(
    ("losses", "images", "alpha"), [(0, 114, 0.02), (3, 500, 0.02), (20, 1010, 0.02), (700, 2000, 0.4), (5, 5, 0.1)]
)
def test_the_p_value_is_the_binomial_distributions(losses, images, alpha):
    assert binomial_p_value(losses, images, alpha) == pytest.approx(scipy_stats.binom.cdf(losses, images, alpha), rel=1e-9)


def test_without_a_loss_it_is_a_power():
    assert binomial_p_value(0, 200, 0.02) == pytest.approx(0.98**200)
    assert binomial_p_value(-1, 200, 0.02) == 0.0


def test_one_hundred_and_fourteen_images_are_the_least():
    assert least_images(0.02, 0.1) == 114
    assert learn_then_test([0], 114, 0.02, 0.1).kept == 0
    assert learn_then_test([0], 113, 0.02, 0.1).kept == -1


def test_the_walk_stops_at_the_first_failure_and_looks_no_further():
    def losses():
        yield from (0, 2, 8, 60)
        raise AssertionError("behind the first failure nothing is computed")

    found = learn_then_test(losses(), 1000, 0.02, 0.1)
    assert (found.kept, found.losses, found.tested) == (2, 8, 4)
    assert found.risk == 0.008


def test_a_policy_behind_a_failure_is_never_kept_even_if_it_would_pass():
    assert learn_then_test([0, 60, 0, 0], 1000, 0.02, 0.1).kept == 0


def test_nothing_is_kept_without_images():
    assert learn_then_test([0, 0], 0).kept == -1


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1])
def test_levels_outside_zero_and_one_are_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        learn_then_test([0], 10, level, 0.1)


def test_over_many_draws_the_risk_exceeds_alpha_no_more_often_than_delta_allows():
    """1,000 draws of 600 images for policies whose true risks rise, fall and rise again around alpha."""
    alpha, delta, draws, images = 0.05, 0.1, 1000, 600
    truth = np.array([0.0, 0.01, 0.03, 0.045, 0.049, 0.0501, 0.04, 0.055, 0.08, 0.02])
    random = np.random.default_rng(0)
    thresholds = random.random((draws, images))  # one image's losses under all policies hang together
    bad = 0
    for image in thresholds:
        kept = learn_then_test(((image < risk).sum() for risk in truth), images, alpha, delta).kept
        bad += kept >= 0 and truth[kept] > alpha
    slack = scipy_stats.binom.ppf(0.999, draws, delta)
    assert bad <= slack
    assert bad > draws * delta * 0.3, "a test that can tell: the bound is not far from tight here"
