"""Stages run until the policy stops: nothing later is computed, and what is handed over stays as it is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.tiny_bundle import with_thresholds
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.inference.answer import answer
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.inference.features import gate_features, score
from tflite_runtime_app.policies import Always, Never, policy_from_manifest


class Recorder:
    """An engine that remembers what it was asked and what it answered."""

    def __init__(self, flatbuffer):
        self.engine = LiteRtEngine(flatbuffer)
        self.calls = []

    def invoke(self, signature, inputs):
        outputs = self.engine.invoke(signature, inputs)
        self.calls.append((signature, dict(inputs), outputs))
        return outputs

    @property
    def names(self):
        return [signature for signature, _, _ in self.calls]


def cascade(tiny, *thresholds, policy=None):
    manifest = with_thresholds(tiny.manifest, *thresholds) if thresholds else tiny.manifest
    return Cascade(Recorder(tiny.flatbuffer), manifest, policy or policy_from_manifest(manifest))


@pytest.mark.parametrize(
    ("thresholds", "names", "macs"),
    [
        ((-128, -128), ["stage_0", "gate_0"], 1010),
        ((128, -128), ["stage_0", "gate_0", "stage_1", "gate_1"], 3021),
        ((128, 128), ["stage_0", "gate_0", "stage_1", "gate_1", "stage_2"], 6033),
    ],
)
def test_nothing_after_the_stop_is_computed(tiny, tensor, thresholds, names, macs):
    subject = cascade(tiny, *thresholds)
    found = subject.run(tensor, tiny_bundle.bank())
    assert subject.engine.names == names
    stages = sum(name.startswith("stage") for name in names)
    assert (found.stage, found.blocks_done, found.macs) == (stages - 1, 2 * stages, macs)
    assert len(found.stages_ms) == stages
    assert all(ms > 0 for ms in found.stages_ms)
    assert [visit.stopped for visit in found.visits] == [threshold == -128 for threshold in thresholds[: len(found.visits)]]


def test_gates_are_run_only_for_policies_that_ask(tiny, tensor):
    for policy, names in ((Always(1), ["stage_0", "stage_1"]), (Never(), ["stage_0", "stage_1", "stage_2"])):
        subject = cascade(tiny, policy=policy)
        found = subject.run(tensor, tiny_bundle.bank())
        assert subject.engine.names == names
        assert {visit.score for visit in found.visits} == {None}


def test_the_threshold_is_met_at_exactly_the_gates_score(tiny, tensor):
    score_here = cascade(tiny, 128, 128).run(tensor, tiny_bundle.bank()).visits[0].score
    assert -128 < score_here < 127, "a saturated score would prove nothing"
    assert cascade(tiny, score_here, 128).run(tensor, tiny_bundle.bank()).stage == 0
    assert cascade(tiny, score_here + 1, 128).run(tensor, tiny_bundle.bank()).stage == 2


@pytest.mark.parametrize("two_term", [False, True])
def test_what_is_handed_over_passes_untouched(tensor, two_term):
    tiny = tiny_bundle.build(two_term)
    subject = cascade(tiny, policy=Never())
    subject.run(tensor, tiny_bundle.bank())
    handed = ["hidden", "hidden_lo"] if two_term else ["hidden"]
    assert subject.engine.names == ["stage_0", "stage_1", "stage_2"]
    for (_, _, outputs), (_, inputs, _) in pairwise(subject.engine.calls):
        assert list(inputs) == handed
        for name in handed:
            assert inputs[name] is outputs[name]
            assert np.unique(inputs[name]).size > 5


def test_what_a_policy_is_told(tiny, tensor):
    class Listener:
        needs_score = True

        def __init__(self):
            self.heard = []

        def decide(self, *told):
            self.heard.append(told)
            return False

    bank = tiny_bundle.bank()
    listener = Listener()
    subject = cascade(tiny, policy=listener)
    found = subject.run(tensor, bank)
    outputs = list(subject.stage_outputs(tensor))
    assert [told[0] for told in listener.heard] == [0, 1]
    for (_, features, gate_score, top1, _), output, visit in zip(listener.heard, outputs, found.visits, strict=False):
        scores = score(output.embedding, bank, tiny.manifest.logit_scale)
        np.testing.assert_array_equal(features, gate_features(scores.probability, output.variance))
        assert (gate_score, top1) == (visit.score, scores.top1)
    assert [told[4] for told in listener.heard] == [(), (listener.heard[0][3],)]


def test_stage_outputs_are_lazy_and_real_valued(tiny, tensor):
    subject = cascade(tiny, policy=Never())
    outputs = subject.stage_outputs(tensor)
    assert subject.engine.names == []
    first = next(outputs)
    assert subject.engine.names == ["stage_0"]
    np.testing.assert_allclose(first.embedding, (first.raw["embedding"][0].astype(float) - 3) * 0.02, rtol=1e-6)
    assert first.variance == pytest.approx((int(first.raw["variance"][0, 0]) + 7) * 0.01)
    assert list(outputs)[-1].variance is None


def test_loading_checks_the_model_against_the_manifest(tmp_path, tiny):
    path = tiny_bundle.write(tmp_path / "x.tflite", replace(tiny, flatbuffer=tiny_bundle.build(two_term=True).flatbuffer))
    with pytest.raises(BundleIncompatible, match="hidden_lo"):
        load_cascade(read_bundle(path))


def test_answers(tiny, tensor):
    bank = tiny_bundle.bank()
    found = cascade(tiny, policy=Never()).run(tensor, bank)
    best = answer(found, bank, tiny.manifest, 3)
    cosines = dict(zip(bank.names, found.scores.cosine.tolist(), strict=True))
    assert [match.label for match in best.top] == sorted(cosines, key=lambda name: -cosines[name])[:3]
    assert best.top[0].cosine == max(cosines.values())
    assert len(answer(found, bank, tiny.manifest, 99).top) == len(bank.names)
    for threshold, none in ((best.top[0].cosine + 1e-4, True), (best.top[0].cosine - 1e-4, False)):
        assert answer(found, bank, replace(tiny.manifest, none_threshold=threshold), 1).none is none
