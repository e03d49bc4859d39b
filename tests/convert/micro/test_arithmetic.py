"""What C computes after a stage, held against the board's own floats and against LiteRT's kernels."""

import dataclasses
import math

import numpy as np
import pytest

from convert.micro import arithmetic
from convert.micro.agreement import litert
from convert.micro.constants import Numbers, numbers_of, quantized_multiplier, thresholds_of
from convert.support.errors import EmitError
from convert.tflite.flatbuffer import read_model, signatures
from convert.tflite.merge import single
from tests.convert.emit.test_integer_file import manifest_of
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import PolicySpec
from tflite_runtime_app.inference.affine import dequantize
from tflite_runtime_app.inference.cascade import gate_codes
from tflite_runtime_app.inference.features import gate_features, score


@pytest.fixture(scope="module")
def tiny() -> tiny_bundle.Tiny:
    return tiny_bundle.build(two_term=True)


@pytest.fixture(scope="module")
def bank(tiny) -> LabelBank:
    return tiny_bundle.bank()


@pytest.fixture(scope="module")
def numbers(tiny, bank) -> Numbers:
    return numbers_of(tiny.flatbuffer, tiny.manifest, bank)


def embeddings(tiny, count: int = 200) -> np.ndarray:
    """Codes of stage 0's embedding, of many lengths."""
    random = np.random.default_rng(3)
    width = tiny.manifest.embedding_size
    return np.clip(random.normal(0, 1, (count, width)) * random.uniform(2, 90, (count, 1)), -128, 127).astype(np.int8)


def test_the_exponential_is_two_to_the_power_of_minus_its_argument():
    for exponent in (*range(0, 1 << 17, 97), 10 << 16, (10 << 16) + 12345, (30 << 16) + 65535):
        exact = 2.0**30 * 2.0 ** (-exponent / 65536)
        assert arithmetic.exponential(exponent) == pytest.approx(exact, rel=2e-5, abs=1)
    assert [arithmetic.exponential(k << 16) for k in (0, 1, 30, 31, 500)] == [1 << 30, 1 << 29, 1, 0, 0]


def test_the_exponential_never_grows():
    values = [arithmetic.exponential(exponent) for exponent in range(0, 3 << 16, 7)]
    assert values == sorted(values, reverse=True)


def test_shares_are_the_softmax_that_the_board_computes(tiny, bank, numbers):
    """Reference: the board's floats, on the labels as C has them; int8 labels themselves move a cosine by less than a hundredth."""
    spec = next(tensor for tensor in tiny.manifest.stages[0].outputs if tensor.name == "embedding")
    rounded = dataclasses.replace(bank, vectors=(numbers.labels * numbers.label_scale).astype(np.float32))
    for codes in embeddings(tiny):
        exact, coarse = (score(dequantize(codes, spec), labels, tiny.manifest.logit_scale) for labels in (rounded, bank))
        found = arithmetic.shares_of(codes.tolist(), spec.zero_point, numbers)
        assert np.abs(np.array(found.shares) / arithmetic.ONE - exact.probability).max() < 5e-5
        assert found.top1 == exact.top1
        length = math.sqrt(sum((int(code) - spec.zero_point) ** 2 for code in codes))
        assert found.root / 65536 == pytest.approx(length, abs=1 / 65536)
        assert np.abs(np.array(found.scores) * numbers.label_scale / length - coarse.cosine).max() < 0.01


def test_confidence_and_margin_are_the_boards_features(tiny, numbers):
    spec = next(tensor for tensor in tiny.manifest.stages[0].outputs if tensor.name == "embedding")
    for codes in embeddings(tiny, 40):
        found = arithmetic.shares_of(codes.tolist(), spec.zero_point, numbers)
        wanted = gate_features(np.array(found.shares) / arithmetic.ONE, 0.0)
        assert (found.confidence / arithmetic.ONE, found.margin / arithmetic.ONE) == pytest.approx(wanted[:2], abs=1e-6)


def test_an_embedding_of_zeros_shares_evenly(numbers):
    zero = numbers.embedding_zero[0]
    found = arithmetic.shares_of([zero] * numbers.labels.shape[1], zero, numbers)
    assert (found.root, found.top1, set(found.scores)) == (1, 0, {0})
    assert set(found.shares) == {arithmetic.ONE // len(numbers.names)}


def test_one_label_has_its_confidence_as_margin(tiny):
    alone = numbers_of(tiny.flatbuffer, tiny.manifest, tiny_bundle.bank(names=("cat",)))
    found = arithmetic.shares_of([5] * alone.labels.shape[1], 0, alone)
    assert found.confidence == found.margin == arithmetic.ONE


def gates_of(conversion):
    return numbers_of(conversion.integer_file, manifest_of(conversion, (20,) * len(conversion.gates)), bank_of(conversion)).gates


def bank_of(conversion) -> LabelBank:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(5, conversion.stages[-1].tower.embedding_size))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return LabelBank(unit, tuple("abcde"), ("{}",), "small-space")


def test_a_gates_layers_equal_litert_to_the_bit(rotated):
    """Of one layer and of two with ReLU: the reference kernel's rounding is the one that C has."""
    gates = gates_of(rotated)
    assert sorted(len(gate.layers) for gate in gates) == [1, 2]
    random = np.random.default_rng(5)
    for number, gate in enumerate(gates):
        codes = random.integers(-128, 128, (3000, 3)).astype(np.int8)
        (wanted,) = litert(single(rotated.integer_file, f"gate_{number}"), [codes])
        for given, score_wanted in zip(codes.tolist(), wanted[:, 0].tolist(), strict=True):
            for layer in gate.layers:
                given = arithmetic.layer_output(layer, given)
            assert given == [score_wanted]


def test_features_are_standardised_and_rounded_as_the_host_does(rotated):
    """Reference: `gate_codes` of the board in floats; a number that lies between two codes may fall to either side, no more."""
    manifest = manifest_of(rotated, (20,) * len(rotated.gates))
    random = np.random.default_rng(6)
    apart = []
    for spec, gate in zip(manifest.gates, gates_of(rotated), strict=True):
        stage = manifest.stages[int(spec.signature.removeprefix("gate_"))]
        variance = next(tensor for tensor in stage.outputs if tensor.name == "variance")
        for _ in range(500):
            confidence, margin = (int(value) for value in random.integers(0, arithmetic.ONE + 1, 2))
            code = int(random.integers(-128, 128))
            real = float(dequantize(np.array([code], np.int8), variance)[0])
            features = np.array([confidence / arithmetic.ONE, margin / arithmetic.ONE, real], np.float32)
            wanted = gate_codes(spec, features).reshape(-1)
            apart.append(np.abs(wanted.astype(int) - arithmetic.gate_codes(gate, confidence, margin, code)).max())
    assert max(apart) <= 1
    assert np.count_nonzero(apart) < len(apart) / 100


@pytest.mark.parametrize("value", [1e-6, 0.0031, 0.25, 0.4999999999, 0.99999999999, 1.0, 37.5])
def test_a_multiplier_of_31_bits_is_as_near_as_31_bits_can_be(value):
    multiplier, shift = quantized_multiplier(value)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(value, rel=2**-31)


def test_rescaling_rounds_halves_up():
    half = quantized_multiplier(0.5)
    assert [arithmetic.rescaled(value, *half) for value in (-3, -2, -1, 0, 1, 2, 3)] == [-1, -1, 0, 0, 1, 1, 2]


def test_a_picture_leaves_at_the_first_gate_that_lets_it_go(tiny, bank):
    codes = list(embeddings(tiny, 3))
    for thresholds, stage, asked in (((-128, 128), 0, 1), ((128, -128), 1, 2), ((128, 128), 2, 2)):
        manifest = dataclasses.replace(tiny_bundle.with_thresholds(tiny.manifest, *thresholds), policy=PolicySpec("lct"))
        answer = arithmetic.classify(codes, [0, 0, 0], numbers_of(tiny.flatbuffer, manifest, bank), 2)
        assert (answer.stage, len(answer.gates), len(answer.top)) == (stage, asked, 2)


def test_none_is_answered_where_the_best_cosine_is_below_the_bundles_threshold(tiny, bank):
    spec = next(tensor for tensor in tiny.manifest.stages[-1].outputs if tensor.name == "embedding")
    seen = set()
    for threshold in (-1.0, 0.2, 0.5, 1.0):
        manifest = dataclasses.replace(tiny.manifest, none_threshold=threshold, policy=PolicySpec("never"))
        numbers = numbers_of(tiny.flatbuffer, manifest, bank)
        rounded = dataclasses.replace(bank, vectors=(numbers.labels * numbers.label_scale).astype(np.float32))
        for codes in embeddings(tiny, 60):
            answer = arithmetic.classify([codes] * 3, [0, 0, 0], numbers, 1)
            best = float(score(dequantize(codes, spec), rounded, 1.0).cosine.max())
            if abs(best - threshold) > 1e-4:
                assert answer.none is (best < threshold)
                seen.add(answer.none)
    assert seen == {True, False}


def test_policies_are_thresholds_or_are_refused_by_name(tiny):
    base = tiny_bundle.with_thresholds(tiny.manifest, 3, 5)
    known = {"lct": (3, 5), "ltt-lct": (3, 5), "never": (128, 128)}
    for name, wanted in known.items():
        assert thresholds_of(dataclasses.replace(base, policy=PolicySpec(name))) == wanted
    assert thresholds_of(dataclasses.replace(base, policy=PolicySpec("always", {"exit": 1.0}))) == (128, -128)
    with pytest.raises(EmitError, match="policy patience is not one of the C code's"):
        thresholds_of(dataclasses.replace(base, policy=PolicySpec("patience", {"in_a_row": 2.0})))


def test_numbers_that_do_not_fit_64_bits_are_refused(tiny, bank):
    with pytest.raises(EmitError, match="do not fit the C code's integers"):
        numbers_of(tiny.flatbuffer, dataclasses.replace(tiny.manifest, logit_scale=1e12), bank)
    narrow = dataclasses.replace(tiny.manifest.gates[0], deviation=(1e-12, 1.0, 1.0))
    spoilt = dataclasses.replace(tiny.manifest, gates=(narrow, *tiny.manifest.gates[1:]), policy=PolicySpec("lct"))
    with pytest.raises(EmitError, match="gate_0: a feature's deviation is too small"):
        numbers_of(tiny.flatbuffer, spoilt, bank)


def test_the_gates_subgraphs_are_read_and_not_only_their_names(tiny, numbers):
    graphs = {key: graph for key, graph, _, _ in signatures(read_model(tiny.flatbuffer))}
    for number, gate in enumerate(numbers.gates):
        assert len(gate.layers) == len(graphs[f"gate_{number}"].operators)
        assert gate.layers[0].weights.any()
