"""Gates and thresholds: what leaves where, what it costs, and that an allowance is never exceeded on held-apart images."""

import numpy as np
import pytest

from calibration.gates import NEVER, Outcomes, confidence_gate, fit_thresholds, leaves_at, loss
from calibration.ranges import Grid
from convert.flatbuffer import schema, signatures, write_model
from convert.gate_graph import add_gates
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.cascade import gate_codes
from tflite_runtime_app.engine import LiteRtEngine
from tflite_runtime_app.manifest import GateSpec, TensorSpec


def outcomes(count: int, exits: int, seed: int, skill: float = 0.7, full: float = 0.8) -> Outcomes:
    """Random images whose exits are the better the higher the score."""
    random = np.random.default_rng(seed)
    scores = random.integers(-128, 128, (count, exits))
    share = np.clip(skill + scores / 400, 0, 1)
    return Outcomes(scores, random.random((count, exits)) < share, random.random(count) < full)


def cost(found: Outcomes, thresholds) -> float:
    """The loss written out image by image."""
    lost = 0
    for scores, good, full in zip(found.scores, found.good, found.good_full, strict=True):
        answer = full
        for score, right, threshold in zip(scores, good, thresholds, strict=True):
            if score >= threshold:
                answer = right
                break
        lost += int(full) - int(answer)
    return lost / len(found.good_full)


def test_images_leave_at_the_first_exit_that_stops_them():
    scores = np.array([[5, 5], [4, 5], [4, 4], [127, -128], [-128, 127]])
    np.testing.assert_array_equal(leaves_at(scores, (5, 5)), [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(leaves_at(scores, (-128, NEVER)), [0] * 5)
    np.testing.assert_array_equal(leaves_at(scores, (NEVER, NEVER)), [2] * 5)


@pytest.mark.parametrize("thresholds", [(0, 0, 0), (NEVER,) * 3, (-128,) * 3, (100, 50, -20)])
def test_loss_is_counted_image_by_image(thresholds):
    found = outcomes(300, 3, 1)
    mean, error = loss(found, thresholds)
    assert mean == pytest.approx(cost(found, thresholds))
    differences = [int(f) for f in found.good_full]
    left = leaves_at(found.scores, thresholds)
    answers = np.column_stack([found.good, found.good_full])[np.arange(300), left]
    assert error == pytest.approx(np.std(np.array(differences) - answers) / 300**0.5)


def test_exits_that_rescue_have_a_negative_loss():
    always_right = Outcomes(np.full((50, 1), 10), np.ones((50, 1), bool), np.zeros(50, bool))
    assert loss(always_right, (0,))[0] == -1.0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("allowed", [0.0, 0.01, 0.05])
def test_the_allowance_is_never_exceeded_on_held_images(seed, allowed):
    fit, held = outcomes(400, 3, seed), outcomes(300, 3, seed + 1000, skill=0.55)
    found = fit_thresholds(fit, held, allowed)
    assert cost(held, found.values) <= allowed
    assert found.loss == pytest.approx(cost(held, found.values))
    assert found.images == 300
    assert all(-128 <= value <= NEVER for value in found.values)


@pytest.mark.parametrize(("fit_images", "held_images"), [(99, 500), (500, 99), (0, 500), (500, 0)])
def test_too_few_images_and_nothing_leaves(fit_images, held_images):
    perfect = [Outcomes(np.zeros((n, 2), int), np.ones((n, 2), bool), np.ones(n, bool)) for n in (fit_images, held_images)]
    assert fit_thresholds(*perfect).values == (NEVER, NEVER)


def test_perfect_exits_let_everything_leave():
    random = np.random.default_rng(0)
    perfect = Outcomes(random.integers(-128, 128, (200, 2)), np.ones((200, 2), bool), random.random(200) < 0.7)
    found = fit_thresholds(perfect, perfect)
    assert (leaves_at(perfect.scores, found.values) == 0).all()


def test_useless_exits_let_nothing_leave():
    random = np.random.default_rng(0)
    useless = Outcomes(random.integers(-128, 128, (400, 2)), np.zeros((400, 2), bool), np.ones(400, bool))
    found = fit_thresholds(useless, useless)
    assert (leaves_at(useless.scores, found.values) == 2).mean() >= 0.99
    assert found.loss <= 0.01


def test_only_the_good_part_of_an_exit_is_used():
    """Right above a score of 60 and wrong below it: the threshold lands there."""
    scores = np.random.default_rng(4).integers(-128, 128, (1000, 1))
    sharp = Outcomes(scores, scores >= 60, np.ones(1000, bool))
    (threshold,) = fit_thresholds(sharp, sharp).values
    assert 50 <= threshold <= 60


def test_the_confidence_gate_covers_all_confidences():
    """Scores rise over 0 .. 1 without ever sticking at an end, far beyond the confidences it was fitted on."""
    features = np.random.default_rng(0).uniform([0.4, 0.0, 0.3], [0.6, 0.2, 0.5], (500, 3)).astype(np.float32)
    gate = confidence_gate(features)
    np.testing.assert_allclose(gate.mean, features.mean(0), rtol=1e-5)
    np.testing.assert_allclose(gate.deviation, features.std(0), rtol=1e-5)
    assert (gate.weights, gate.bias) == ((1.0, 0.0, 0.0), 0.0)
    for confidence in (0.0, 0.25, 1.0):
        standard = (confidence - gate.mean[0]) / gate.deviation[0]
        for grid in (gate.features, gate.score):
            assert grid.minimum - 0.51 * grid.scale <= standard <= grid.maximum + 0.51 * grid.scale


def test_a_gate_of_equal_features_is_finite():
    gate = confidence_gate(np.full((20, 3), 0.5, np.float32))
    assert np.isfinite([*gate.mean, *gate.deviation, gate.features.scale, gate.score.scale]).all()
    assert min(gate.deviation) > 0


def gate_engine(*gates) -> LiteRtEngine:
    return LiteRtEngine(add_gates(tiny_bundle.build().flatbuffer.replace(b"gate_", b"were_"), gates))


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.7, -1.3, 0.4), (-2.0, 0.0, 0.1)])
@pytest.mark.parametrize("bias", [0.0, 0.8])
def test_the_integer_gate_scores_as_numpy_does_over_all_codes(weights, bias):
    """Every code of the first feature, and of the two others a sample; one step of the score off at most."""
    from calibration.gates import Gate

    features, score = Grid(0.031, -7), Grid(0.052, 11)
    gate = Gate((0.0,) * 3, (1.0,) * 3, weights, bias, features, score)
    engine = gate_engine(gate)
    random, differing = np.random.default_rng(0), 0
    for code in range(-128, 128):
        codes = np.array([[code, *random.integers(-128, 128, 2)]], np.int8)
        real = (codes[0].astype(float) - features.zero_point) * features.scale
        wanted = np.clip(np.round((real @ np.array(weights) + bias) / score.scale) + score.zero_point, -128, 127)
        # The weights themselves are rounded to 1/127 of the largest: that much the score may move besides.
        moved = np.abs(real).sum() * max(np.abs(weights)) / 254 / score.scale
        found = int(engine.invoke("gate_0", {"features": codes})["score"][0, 0])
        assert abs(found - wanted) <= 1 + (moved if np.count_nonzero(weights) > 1 else 0)
        differing += found != wanted
    assert np.count_nonzero(weights) > 1 or differing < 26


def test_the_confidence_gates_score_rises_with_confidence():
    features = np.random.default_rng(1).uniform(0.2, 0.8, (300, 3)).astype(np.float32)
    gate = confidence_gate(features)
    engine = gate_engine(gate)
    spec = GateSpec(
        "gate_0",
        gate.mean,
        gate.deviation,
        TensorSpec("features", (1, 3), gate.features.scale, gate.features.zero_point),
        TensorSpec("score", (1, 1), gate.score.scale, gate.score.zero_point),
        NEVER,
    )
    scores = []
    for confidence in np.linspace(0, 1, 101):
        codes = gate_codes(spec, np.array([confidence, 0.5, 0.5], np.float32))
        scores.append(int(engine.invoke("gate_0", {"features": codes})["score"][0, 0]))
        wanted = (confidence - gate.mean[0]) / gate.deviation[0]
        found = (scores[-1] - gate.score.zero_point) * gate.score.scale
        assert abs(found - wanted) <= 1.5 * gate.score.scale
    assert scores == sorted(scores)
    assert scores[0] <= -126
    assert scores[-1] >= 125


def test_gates_are_numbered_signatures():
    from convert.flatbuffer import read_model

    gate = confidence_gate(np.random.default_rng(0).random((50, 3)).astype(np.float32))
    content = add_gates(tiny_bundle.build().flatbuffer.replace(b"gate_", b"were_"), (gate, gate))
    keys = [key for key, *_ in signatures(read_model(content))]
    assert keys[-2:] == ["gate_0", "gate_1"]


def test_a_model_without_a_product_cannot_hold_a_gate():
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = 3, [schema.BufferT()], [], [], []
    gate = confidence_gate(np.random.default_rng(0).random((50, 3)).astype(np.float32))
    with pytest.raises(ValueError, match="no operator"):
        add_gates(write_model(model), (gate,))
