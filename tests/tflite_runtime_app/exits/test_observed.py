"""What a policy makes of images, counted one by one."""

import numpy as np
import pytest

from tflite_runtime_app.exits.observed import Observed, joined
from tflite_runtime_app.exits.risk import learn_then_test
from tflite_runtime_app.exits.thresholds import NEVER, bounded, family
from tflite_runtime_app.policies import Always, Confidence, Lct, Never, Patience

MACS = (30, 60, 100)  # the heads of the exits among them
FULL = 96  # without


def observed(count: int = 500, seed: int = 0, labelled: bool = True) -> Observed:
    """Images whose exits are the better the higher the score, among ten labels."""
    random = np.random.default_rng(seed)
    wanted = random.integers(0, 10, count)
    scores = random.integers(-128, 128, (count, 2))
    skill = np.column_stack([np.clip(0.5 + scores / 260, 0, 1), np.full(count, 0.8)])
    top1 = np.where(random.random((count, 3)) < skill, wanted[:, None], random.integers(0, 10, (count, 3)))
    features = random.random((count, 2, 3)).astype(np.float32)
    return Observed(features, scores, top1, wanted if labelled else None, MACS, FULL, 10)


@pytest.mark.parametrize("policy", [Never(), Always(1), Confidence(0.6), Patience(2), Lct((20, -40))])
def test_leaving_is_counted_image_by_image(policy):
    seen = observed()
    left = seen.leaves(policy)
    harmed = rescued = macs = 0
    for i in range(len(seen)):
        stage = 2
        for exit in (0, 1):
            if policy.decide(
                exit, seen.features[i, exit], int(seen.scores[i, exit]), seen.top1[i, exit], tuple(seen.top1[i, :exit])
            ):
                stage = exit
                break
        assert left[i] == stage
        right, full = seen.top1[i, stage] == seen.wanted[i], seen.top1[i, 2] == seen.wanted[i]
        harmed, rescued, macs = harmed + (full and not right), rescued + (right and not full), macs + MACS[stage]
    assert (seen.harmed(left).sum(), seen.rescued(left).sum()) == (harmed, rescued)
    assert seen.loss(left) == pytest.approx((harmed - rescued) / len(seen))
    assert seen.mean_macs(left) == pytest.approx(macs / len(seen))
    assert seen.share(left) == pytest.approx(macs / len(seen) / FULL)


def test_an_image_that_passes_every_exit_pays_for_their_heads():
    seen = observed()
    assert seen.share(seen.leaves(Never())) == pytest.approx(MACS[-1] / FULL)


def test_without_labels_every_changed_answer_is_a_loss():
    seen, labelled = observed(labelled=False), observed()
    left = seen.leaves(Always(0))
    assert np.array_equal(seen.harmed(left), seen.top1[:, 0] != seen.top1[:, 2])
    assert not seen.rescued(left).any()
    assert seen.harmed(left).sum() >= labelled.harmed(left).sum()


def test_parts_and_wholes():
    seen = observed()
    assert np.array_equal(joined(seen.part(0, 200), seen.part(200, None)).top1, seen.top1)


@pytest.mark.parametrize("offsets", [(0, 0), (15, -15), (-200, 200)])
def test_the_family_goes_from_the_first_image_to_all_of_them(offsets):
    policies = family(offsets)
    thresholds = np.array([policy.thresholds for policy in policies])
    assert (np.diff(thresholds, axis=0) <= 0).all(), "each is bolder than the one before"
    assert (thresholds[-1] == -128).all()
    assert (thresholds[0] >= 127).any()
    inside = ((thresholds > -128) & (thresholds < NEVER)).all(1)
    assert (thresholds[inside][:, 0] - thresholds[inside][:, 1] == offsets[1] - offsets[0]).all()


def test_the_bound_is_the_walk_over_the_family():
    seen, policies = observed(2000), family((0, 0))
    losses = [int(seen.harmed(seen.leaves(policy)).sum()) for policy in policies]
    assert bounded(seen, policies, 0.05, 0.1) == learn_then_test(losses, 2000, 0.05, 0.1)
    assert 0 <= bounded(seen, policies, 0.05, 0.1).kept < len(policies) - 1
