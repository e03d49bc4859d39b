"""When each policy stops, and that the manifest gives back the policy that was put into it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tflite_runtime_app.tiny_bundle import with_thresholds
from tflite_runtime_app.bundle.manifest import PolicySpec, from_json, to_json
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.policies import (
    POLICIES,
    Always,
    ClassBased,
    Confidence,
    Lct,
    LttLct,
    Never,
    Patience,
    policy_from_manifest,
)
from tflite_runtime_app.policies.spec import spec_of

FEATURES = np.array([0.9, 0.8, 0.1], np.float32)


def test_never_and_always():
    assert not any(Never().decide(exit, FEATURES, 127, 0, ()) for exit in range(3))
    assert [Always(1).decide(exit, FEATURES, None, 0, ()) for exit in range(3)] == [False, True, False]


@pytest.mark.parametrize("kind", [Lct, LttLct])
@pytest.mark.parametrize(("threshold", "score", "stops"), [(10, 9, False), (10, 10, True), (-128, -128, True), (128, 127, False)])
def test_lct_stops_at_the_threshold_of_its_own_exit(kind, threshold, score, stops):
    assert kind((128, threshold)).decide(1, FEATURES, score, 0, ()) is stops
    assert kind((threshold, 128)).decide(1, FEATURES, score, 0, ()) is False


def test_lct_without_a_score_is_a_mistake():
    with pytest.raises(ValueError, match="score"):
        Lct((0,)).decide(0, FEATURES, None, 0, ())


def test_only_gated_policies_have_gates_run():
    assert {kind.name for kind in POLICIES if kind.needs_score} == {"lct", "ltt-lct"}


def test_confidence_has_one_threshold_at_every_exit():
    for exit in range(3):
        assert Confidence(0.89).decide(exit, FEATURES, None, 0, ())
        assert not Confidence(0.91).decide(exit, FEATURES, None, 0, ())


def test_class_based_asks_for_the_predicted_class():
    policy = ClassBased((0.5, 0.95))
    assert policy.decide(0, FEATURES, None, 0, ())
    assert not policy.decide(0, FEATURES, None, 1, ())


@pytest.mark.parametrize(
    ("in_a_row", "history", "stops"),
    [
        (1, (), True),
        (2, (), False),
        (2, (3,), True),
        (2, (3, 4), False),
        (2, (4, 3), True),
        (3, (3, 3), True),
        (3, (4, 3), False),
    ],
)
def test_patience_waits_for_the_same_answer_in_a_row(in_a_row, history, stops):
    assert Patience(in_a_row).decide(len(history), FEATURES, None, 3, history) is stops


@pytest.mark.parametrize(
    "policy",
    [Never(), Always(1), Confidence(0.73), ClassBased((0.1, 0.2, 0.3)), Patience(2), Lct((5, -6)), LttLct((128, -128))],
    ids=lambda policy: policy.name,
)
def test_a_policy_comes_back_from_its_manifest(tiny, policy):
    spec, thresholds = spec_of(policy, 2, (4, -4))
    manifest = replace(with_thresholds(tiny.manifest, *thresholds), policy=spec)
    found = policy_from_manifest(manifest)
    assert found == policy
    assert type(found) is type(policy)


def test_what_no_policy_can_be_is_refused(tiny):
    def named(name, **parameters):
        return policy_from_manifest(replace(with_thresholds(tiny.manifest, 5, -6), policy=PolicySpec(name, parameters)))

    with pytest.raises(BundleIncompatible, match=r"never, always, confidence, class-based, patience, lct, ltt-lct.*'telepathy'"):
        named("telepathy")
    for wrong in ({}, {"exit": 3.0}, {"exit": 0.5}, {"exit": -1.0}):
        with pytest.raises(BundleIncompatible, match="exit from 0 to 2"):
            named("always", **wrong)
    for wrong in ({}, {"in_a_row": 0.0}, {"in_a_row": 1.5}):
        with pytest.raises(BundleIncompatible, match="in_a_row"):
            named("patience", **wrong)
    with pytest.raises(BundleIncompatible, match="threshold"):
        named("confidence")
    with pytest.raises(BundleIncompatible, match="each label"):
        named("class-based", **{"0": 0.5, "2": 0.5})
    with pytest.raises(BundleIncompatible, match="2 gates"):
        policy_from_manifest(replace(tiny.manifest, gates=(), policy=PolicySpec("lct")))


@pytest.mark.parametrize(("former", "today"), [("lact", "lct"), ("ltt-lact", "ltt-lct"), ("never", "never")])
def test_a_manifest_with_a_policys_former_name_is_read(tiny, former, today):
    written = to_json(replace(tiny.manifest, policy=PolicySpec(former)))
    assert from_json(written).policy.name == today
    assert policy_from_manifest(from_json(written)).name == today
