"""Families of policies, the choice among their members, and layer-adaptive thresholds."""

import dataclasses
import itertools

import numpy as np
import pytest

from calibration import inr
from calibration.choose import Aim, choose
from calibration.families import DEFAULT, FAMILIES
from tests.tflite_runtime_app.exits.test_observed import observed
from tflite_runtime_app.exits.observed import joined
from tflite_runtime_app.policies import ClassBased, LttLct, Never


@pytest.mark.parametrize("name", FAMILIES)
def test_members_get_bolder(name):
    """From the safest to the boldest more images leave, or leave sooner."""
    seen = observed(400)
    shares = [seen.share(seen.leaves(member)) for member in FAMILIES[name](seen, (0, 0))]
    assert shares
    assert all(member.name == name for member in FAMILIES[name](seen, (0, 0)))
    if name != "patience":
        assert all(after <= before for before, after in itertools.pairwise(shares))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("never", "always", "patience")])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_the_loss_aimed_for_is_kept_and_allowing_more_saves_more(name, loss):
    learned, held = observed(1000, 1), observed(1000, 2)
    members = FAMILIES[name](learned, (0, 0))
    found = choose(members, held, Aim(loss=loss))
    assert found.loss <= loss
    assert found.loss == pytest.approx(held.loss(held.leaves(found.policy)))
    assert choose(members, held, Aim(loss=loss + 0.05)).share <= found.share


def test_a_budget_is_kept_at_the_least_loss():
    held = observed(1000, 2)
    members = FAMILIES["lct"](held, (0, 0))
    found = choose(members, held, Aim(budget=0.7))
    assert found.share <= 0.7
    figures = [(held.loss(left), held.share(left)) for left in map(held.leaves, members)]
    assert found.loss == min(loss for loss, share in figures if share <= 0.7)


def test_the_bound_comes_before_the_aim():
    held = observed(1000, 2)
    members = FAMILIES[DEFAULT](held, (0, 0))
    free, bound = choose(members, held, Aim(loss=1.0)), choose(members, held, Aim(loss=1.0), bound=True)
    assert isinstance(bound.policy, LttLct)
    assert bound.bound is not None
    assert bound.share > free.share
    assert bound.harmed <= 0.02
    assert choose(members, held, Aim(budget=0.1), bound=True).share == pytest.approx(bound.share), "as far as the bound allows"


def test_too_few_images_and_nothing_leaves():
    few = observed(100)
    found = choose(FAMILIES[DEFAULT](few, (0, 0)), few, Aim(), bound=True)
    assert found.policy == Never()
    assert found.share == few.share(few.leaves(Never()))


def test_easy_classes_leave_sooner():
    seen = observed(2000)
    seen.features[:, :, 1] = np.where(seen.top1[:, :2] == 3, 0.9, 0.1)
    (*_, last) = FAMILIES["class-based"](seen, (0, 0))
    assert isinstance(last, ClassBased)
    assert np.argmin(last.thresholds) == 3
    assert len(last.thresholds) == 10


def test_inr_is_the_formula():
    random = np.random.default_rng(0)
    labels = random.normal(size=(7, 16)).astype(np.float32)
    exact = random.normal(size=(50, 3, 16)).astype(np.float32)
    noisy = exact + random.normal(size=exact.shape).astype(np.float32) * np.array([0.4, 0.2, 0.05])[:, None].astype(np.float32)
    found = inr.information_to_noise(exact, noisy, labels)
    for k in range(3):
        signal = noise = 0.0
        for i in range(50):
            z, y = (labels @ (part[i, k] / np.linalg.norm(part[i, k])) for part in (exact, noisy))
            z, y = z - z.mean(), y - y.mean()
            signal, noise = signal + (z**2).sum(), noise + ((y - z) ** 2).sum()
        assert found[k] == pytest.approx(signal / noise, rel=1e-4)
    assert found[0] < found[1] < found[2]


def test_thresholds_follow_the_noise():
    first, second, third = inr.offsets((10.0, 100.0, 1000.0), 1.0)
    assert first < second == 0 < third, "less noise, a larger offset, a lower threshold"
    assert inr.offsets((10.0, 100.0, 1000.0), 0.0) == (0, 0, 0)
    assert inr.offsets((5.0,), 2.0) == (0,)


def test_the_strength_is_the_one_that_saves_most():
    """The deeper exit's scores are raised: what they promise, its answers do not hold. A strength that closes it must win."""
    honest = observed(3000)
    seen = dataclasses.replace(honest, scores=honest.scores + np.array([0, 60]))
    strength, shares = inr.strength(seen, (200.0, 50.0))
    assert shares[strength] == min(shares.values()) < shares[0.0] - inr.SURE
    assert strength > 0
    assert set(shares) == set(inr.STRENGTHS)


def test_a_gain_within_chance_moves_no_threshold():
    strength, shares = inr.strength(observed(3000), (200.0, 50.0))
    assert min(shares.values()) > shares[0.0] - inr.SURE
    assert strength == 0


def test_the_loss_is_known_better_on_more_images_and_the_bound_rests_on_the_held_ones_alone():
    learned, held = observed(1000, 1), observed(1000, 2)
    members = FAMILIES[DEFAULT](learned, (0, 0))
    found = choose(members, held, Aim(alpha=0.05), bound=True, learned=learned)
    alone = choose(members, held, Aim(alpha=0.05), bound=True)
    assert found.bound == alone.bound
    both = joined(learned, held)
    assert found.images == 2000
    assert found.loss == pytest.approx(both.loss(both.leaves(found.policy)))
