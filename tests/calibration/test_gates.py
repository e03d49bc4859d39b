"""Gates: learned odds against scikit-learn's, the integer gate against numpy over all codes, and what the evidence says of them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from calibration import gate_evidence
from calibration.gates import KINDS, SCORE, Gate, Layer, fit_gate, log_odds
from calibration.ranges import Grid
from convert.emit.gates import add_gates
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.manifest import GateSpec, TensorSpec
from tflite_runtime_app.inference.affine import quantize
from tflite_runtime_app.inference.cascade import gate_codes
from tflite_runtime_app.inference.engine import LiteRtEngine


def seen(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose worth follows a known law: odds rise with confidence and margin, the third says nothing."""
    random = np.random.default_rng(seed)
    confidence = random.beta(2, 2, count)
    features = np.stack([confidence, confidence * random.random(count), random.normal(0.5, 0.1, count)], 1).astype(np.float32)
    odds = 6 * (features[:, 0] - 0.5) + 3 * features[:, 1] - 0.5
    return features, random.random(count) < 1 / (1 + np.exp(-odds))


def test_the_logistic_gate_is_scikit_learns():
    features, worth = seen(1000)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=1.0).fit(scaler.transform(features), worth)
    wanted = model.decision_function(scaler.transform(features))
    np.testing.assert_allclose(log_odds(fit_gate(features, worth), features), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_ranks_as_well_as_the_law_behind_the_data(kind):
    features, worth = seen(4000)
    fresh, truth = seen(4000, 1)
    law = 6 * (fresh[:, 0] - 0.5) + 3 * fresh[:, 1]
    assert roc_auc_score(truth, log_odds(fit_gate(features, worth, kind), fresh)) > roc_auc_score(truth, law) - 0.01


def test_a_perceptron_learns_what_a_line_cannot():
    features = np.random.default_rng(0).uniform(-1, 1, (3000, 3)).astype(np.float32)
    worth = np.abs(features[:, 0]) > 0.5
    line, bend = (roc_auc_score(worth, log_odds(fit_gate(features, worth, kind), features)) for kind in KINDS)
    assert line < 0.6
    assert bend > 0.95
    assert gate_evidence.best_kind([gate_evidence.kinds_compared(features, worth)]) == "mlp"


@pytest.mark.parametrize("worth", [np.ones(200, bool), np.zeros(200, bool), np.arange(20) < 10])
def test_where_nothing_can_be_learned_the_gate_is_the_confidence(worth):
    features = seen(len(worth))[0]
    odds = log_odds(fit_gate(features, worth), features)
    assert np.array_equal(np.argsort(odds, kind="stable"), np.argsort(features[:, 0], kind="stable"))


def test_a_gate_of_equal_features_is_finite():
    gate = fit_gate(np.full((100, 3), 0.5, np.float32), np.arange(100) < 50)
    assert np.isfinite([*gate.mean, *gate.deviation, gate.features.scale, gate.score.scale]).all()
    assert min(gate.deviation) > 0


def engine_of(*gates: Gate) -> LiteRtEngine:
    return LiteRtEngine(add_gates(tiny_bundle.build().flatbuffer.replace(b"gate_", b"were_"), gates))


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.7, -1.3, 0.4), (-2.0, 0.0, 0.1)])
@pytest.mark.parametrize("bias", [0.0, 0.8])
def test_the_integer_gate_scores_as_numpy_does_over_all_codes(weights, bias):
    """Every code of the first feature, and of the two others a sample; one step of the score off at most."""
    features, score = Grid(0.031, -7), Grid(0.052, 11)
    gate = Gate((0.0,) * 3, (1.0,) * 3, (Layer((weights,), (bias,)),), features, None, score)
    engine = engine_of(gate)
    random = np.random.default_rng(0)
    for code in range(-128, 128):
        codes = np.array([[code, *random.integers(-128, 128, 2)]], np.int8)
        real = (codes[0].astype(float) - features.zero_point) * features.scale
        wanted = np.clip(np.round((real @ np.array(weights) + bias) / score.scale) + score.zero_point, -128, 127)
        # The weights themselves are rounded to 1/127 of the largest: that much the score may move besides.
        moved = np.abs(real).sum() * max(np.abs(weights)) / 254 / score.scale
        found = int(engine.invoke("gate_0", {"features": codes})["score"][0, 0])
        assert abs(found - wanted) <= 1 + (moved if np.count_nonzero(weights) > 1 else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_integer_gate_decides_as_the_float_gate(kind):
    """On 99.5 % of images and more, at every threshold that a build could choose."""
    gate = fit_gate(*seen(2000), kind)
    fresh, _ = seen(3000, 1)
    engine = engine_of(gate)
    spec = GateSpec(
        "gate_0",
        gate.mean,
        gate.deviation,
        TensorSpec("features", (1, 3), gate.features.scale, gate.features.zero_point),
        TensorSpec("score", (1, 1), SCORE.scale, SCORE.zero_point),
        0,
    )
    scores = np.array([int(engine.invoke("gate_0", {"features": gate_codes(spec, row)})["score"][0, 0]) for row in fresh])
    equal = [gate_evidence.decisions_equal(gate, fresh, scores, threshold) for threshold in range(-60, 61, 5)]
    assert min(equal) >= 0.99
    assert np.mean(equal) >= 0.995


def test_thresholds_mean_the_same_odds_at_every_exit():
    gates = [fit_gate(*seen(1000, seed), kind) for seed in (0, 1) for kind in KINDS]
    assert {gate.score for gate in gates} == {SCORE}
    assert int(quantize(np.zeros(1), TensorSpec("score", (1,), SCORE.scale, SCORE.zero_point))[0]) == SCORE.zero_point


def test_reliability_of_honest_and_of_boastful_odds():
    random = np.random.default_rng(0)
    odds = random.normal(0, 2, 20000)
    worth = random.random(20000) < 1 / (1 + np.exp(-odds))
    honest, boastful = gate_evidence.reliability(odds, worth), gate_evidence.reliability(3 * odds, worth)
    assert honest.ece < 0.02 < 0.08 < boastful.ece
    assert sum(honest.count) == 20000
    np.testing.assert_allclose(honest.chance, honest.share, atol=0.04)


def test_the_ablation_sees_which_feature_says_nothing():
    features, worth = seen(2000)
    found = gate_evidence.ablation(features, worth, "logistic")
    assert len(found) == 7
    assert found["variance"] == pytest.approx(0.5, abs=0.05)
    assert found["confidence"] > 0.7
    assert found["confidence + margin + variance"] >= found["confidence"] - 0.01
    assert gate_evidence.ablation(features[:30], worth[:30], "logistic") == {}
