"""When each policy stops."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tflite_runtime_app.tiny_bundle import with_thresholds
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.manifest import PolicySpec
from tflite_runtime_app.policies import Always, Confidence, Never, policy_from_manifest

FEATURES = np.array([0.9, 0.8, 0.1], np.float32)


def test_never_and_always():
    assert not any(Never().decide(exit, FEATURES, 127, 0, ()) for exit in range(3))
    assert [Always(1).decide(exit, FEATURES, None, 0, ()) for exit in range(3)] == [False, True, False]
    assert not Never.needs_score
    assert not Always.needs_score


@pytest.mark.parametrize(("threshold", "score", "stops"), [(10, 9, False), (10, 10, True), (-128, -128, True), (128, 127, False)])
def test_confidence_stops_at_the_threshold_of_its_own_exit(threshold, score, stops):
    assert Confidence((128, threshold)).decide(1, FEATURES, score, 0, ()) is stops
    assert Confidence((threshold, 128)).decide(1, FEATURES, score, 0, ()) is False


def test_confidence_without_a_score_is_a_mistake():
    assert Confidence.needs_score
    with pytest.raises(ValueError, match="score"):
        Confidence((0,)).decide(0, FEATURES, None, 0, ())


def test_policies_by_name(tiny):
    def named(name, **parameters):
        return policy_from_manifest(replace(with_thresholds(tiny.manifest, 5, -6), policy=PolicySpec(name, parameters)))

    assert named("never") == Never()
    assert named("always", exit=2.0) == Always(2)
    assert named("confidence") == Confidence((5, -6))
    with pytest.raises(BundleIncompatible, match=r"never, always, confidence.*'telepathy'"):
        named("telepathy")
    for wrong in ({}, {"exit": 3.0}, {"exit": 0.5}, {"exit": -1.0}):
        with pytest.raises(BundleIncompatible, match="exit from 0 to 2"):
            named("always", **wrong)
    with pytest.raises(BundleIncompatible, match="2 gates"):
        policy_from_manifest(replace(tiny.manifest, gates=()))
