"""Scores, gate features and the int8 grid, against plain arithmetic."""

import math

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.manifest import TensorSpec
from tflite_runtime_app.inference.affine import dequantize, quantize
from tflite_runtime_app.inference.cascade import gate_codes
from tflite_runtime_app.inference.features import gate_features, score


def test_scores_by_hand():
    bank = tiny_bundle.bank()
    embedding = np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1.5], np.float32)
    scores = score(embedding, bank, 10.0)
    length = math.sqrt(sum(float(x) ** 2 for x in embedding))
    cosines = [sum(float(a) * float(b) for a, b in zip(row, embedding, strict=True)) / length for row in bank.vectors]
    powers = [math.exp(10 * cosine) for cosine in cosines]
    assert scores.cosine == pytest.approx(cosines, abs=1e-6)
    assert scores.probability == pytest.approx([power / sum(powers) for power in powers], rel=1e-5)
    assert scores.top1 == cosines.index(max(cosines))


def test_scores_do_not_depend_on_the_norm_and_survive_zeros_and_large_scales():
    bank = tiny_bundle.bank()
    embedding = np.linspace(-1, 1, 6, dtype=np.float32)
    np.testing.assert_allclose(score(embedding * 50, bank, 100).probability, score(embedding, bank, 100).probability, rtol=1e-4)
    assert score(np.zeros(6, np.float32), bank, 100).probability.tolist() == [0.25] * 4
    assert np.isfinite(score(embedding, bank, 1e6).probability).all()


def test_gate_features():
    assert gate_features(np.array([0.1, 0.6, 0.3]), 0.25) == pytest.approx([0.6, 0.3, 0.25])
    assert gate_features(np.array([0.4, 0.4, 0.2]), 1.0) == pytest.approx([0.4, 0.0, 1.0])
    assert gate_features(np.array([1.0]), 0.5) == pytest.approx([1.0, 1.0, 0.5])


def test_quantize_rounds_halves_to_even_and_clips():
    spec = TensorSpec("x", (1, 7), 0.5, 3)
    values = np.array([0.25, 0.75, -0.25, 0.0, 1.0, 1e9, -1e9])
    assert quantize(values, spec).tolist() == [3, 5, 3, 3, 5, 127, -128]
    assert dequantize(np.array([3, 5, -128], np.int8), spec).tolist() == [0.0, 1.0, -65.5]


def test_gate_codes_standardise_first(tiny):
    gate = tiny.manifest.gates[0]  # mean 0.4 0.2 0.5, deviation 0.2 0.1 0.25, scale 0.05, zero point 2
    codes = gate_codes(gate, np.array([0.6, 0.1, 0.5], np.float32))
    assert (codes.shape, codes.dtype, codes.tolist()) == ((1, 3), np.int8, [[22, -18, 2]])


def test_real_values_are_those_of_the_formula_to_the_bit_for_every_code_and_layout():
    codes = np.arange(-128, 128).astype(np.int8).reshape(16, 16).T
    for scale, zero_point in ((0.1, 7), (0.0123456789, -128), (3e-5, 127)):
        spec = TensorSpec("embedding", (16, 16), scale, zero_point)
        expected = (codes.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
        found = dequantize(codes, spec)
        assert (found.dtype, found.shape) == (np.float32, (16, 16))
        assert found.tobytes() == expected.tobytes()
        found[:] = 0
        np.testing.assert_array_equal(dequantize(codes, spec), expected, "what was given away is nobody else's")
