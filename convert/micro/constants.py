"""A bundle's numbers as the microcontroller has them: integers alone, made here once for C and for the numpy reference.

Fixed point, so that every compiler gives the same bits: no floating-point unit, no libm, no contraction of a * b + c, no rounding mode.
`arithmetic.py` says how the integers are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.support.errors import EmitError
from convert.tflite.audit import grid_of
from convert.tflite.flatbuffer import constant, read_model, schema, signatures
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import GateSpec, Manifest, TensorSpec
from tflite_runtime_app.policies import Always, Lct, Never, policy_from_manifest

NEVER, ALWAYS = 128, -128  # thresholds of a score
TABLE_BITS, TABLE_ONE = 6, 1 << 30
# 2^-(k / 64) for k = 0 .. 64 in units of 2^-30
TABLE: tuple[int, ...] = tuple(round(TABLE_ONE * 2.0 ** (-k / (1 << TABLE_BITS))) for k in range((1 << TABLE_BITS) + 1))


@dataclass(frozen=True, slots=True, eq=False)
class LayerNumbers:
    """One layer of a gate, as its int8 FULLY_CONNECTED has it: out = clip(zero + (acc x multiplier x 2^(shift - 31)), least, 127)."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    input_zero: int
    output_zero: int
    multiplier: int
    shift: int
    least: int


@dataclass(frozen=True, slots=True, eq=False)
class GateNumbers:
    """One gate: code k = clip((slope_k x_k + offset_k) / 2^40), x being confidence and margin in 2^-24 and the variance's code less zero.

    Stop when the last layer's output >= threshold.
    """

    slopes: tuple[int, int, int]
    offsets: tuple[int, int, int]
    variance_zero: int
    layers: tuple[LayerNumbers, ...]
    threshold: int


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """All of it. `labels` int8 [n, E] are the vectors over `label_scale`; `embedding_zero` has an entry a stage.

    `sharpness` is logit_scale x label_scale x log2(e) in 2^-32; `none_limit` is none_threshold / label_scale in 2^-16.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int8]
    label_scale: float
    embedding_zero: tuple[int, ...]
    gates: tuple[GateNumbers, ...]
    sharpness: int
    none_limit: int

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.embedding_zero)


def numbers_of(flatbuffer: bytes, manifest: Manifest, bank: LabelBank) -> Numbers:
    """The numbers of a bundle with those labels. Raises EmitError for a policy or for sizes that the C code does not do."""
    largest = float(np.abs(bank.vectors).max())
    scale = float(np.float32(largest / 127))
    labels = np.clip(np.rint(bank.vectors.astype(np.float64) / scale), -127, 127).astype(np.int8)
    sharpness = round(manifest.logit_scale * scale * math.log2(math.e) * 2**32)
    width = labels.shape[1]
    limit, longest = round(manifest.none_threshold / scale * 2**16), math.isqrt((255**2 * width) << 32)
    products = (255 * 127 * width << 32, 2 * 255 * 127 * width * sharpness, abs(limit) * longest, 255**2 * width << 32)
    if max(products) >= 2**63 or 255 * 127 * width >= 2**31:
        raise EmitError(
            f"embeddings of {width} numbers at logit scale {manifest.logit_scale:.0f} do not fit the C code's integers"
        )
    thresholds = thresholds_of(manifest)
    model = read_model(flatbuffer)
    subgraphs = {key: graph for key, graph, _, _ in signatures(model)}
    gates = tuple(
        _gate(model, gate, _output(manifest, k, "variance"), threshold, subgraphs)
        for k, (gate, threshold) in enumerate(zip(manifest.gates, thresholds, strict=True))
    )
    zeros = tuple(_output(manifest, k, "embedding").zero_point for k in range(len(manifest.stages)))
    return Numbers(bank.names, labels, scale, zeros, gates, sharpness, limit)


def thresholds_of(manifest: Manifest) -> tuple[int, ...]:
    """Each gate's threshold under the bundle's policy. Raises EmitError for a policy that looks at something else than gates."""
    policy = policy_from_manifest(manifest)
    if isinstance(policy, Lct):
        return policy.thresholds
    if isinstance(policy, Never):
        return (NEVER,) * len(manifest.gates)
    if isinstance(policy, Always) and len(manifest.gates) == len(manifest.stages) - 1:
        return tuple(ALWAYS if k == policy.exit else NEVER for k in range(len(manifest.gates)))
    raise EmitError(
        f"policy {manifest.policy.name} is not one of the C code's, which are never, always, lct and ltt-lct; "
        "build with --policy ltt-lct"
    )


def _gate(model: Any, gate: GateSpec, variance: TensorSpec, threshold: int, subgraphs: Mapping[str, Any]) -> GateNumbers:
    steps = [deviation * gate.features.scale for deviation in gate.deviation]
    ahead = (2**16, 2**16, 2**40 * variance.scale)
    slopes = tuple(round(unit / step) for unit, step in zip(ahead, steps, strict=True))
    offsets = tuple(round(2**40 * (gate.features.zero_point - mean / step)) for mean, step in zip(gate.mean, steps, strict=True))
    for slope, offset, most in zip(slopes, offsets, (2**24, 2**24, 255), strict=True):
        if abs(slope) * most + abs(offset) >= 2**62:
            raise EmitError(f"{gate.signature}: a feature's deviation is too small for the C code's integers; calibrate again")
    graph = subgraphs[gate.signature]
    layers = tuple(_layer(model, graph, operator) for operator in graph.operators)
    return GateNumbers(
        (slopes[0], slopes[1], slopes[2]), (offsets[0], offsets[1], offsets[2]), variance.zero_point, layers, threshold
    )


def _layer(model: Any, graph: Any, operator: Any) -> LayerNumbers:
    given, weights, output = (graph.tensors[int(i)] for i in (*operator.inputs[:2], operator.outputs[0]))
    codes = constant(model, weights)
    index = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
    biases = constant(model, graph.tensors[index]) if index >= 0 else None if codes is None else np.zeros(len(codes), np.int32)
    grids = [grid_of(tensor) for tensor in (given, weights, output)]
    if codes is None or biases is None or grids[0] is None or grids[1] is None or grids[2] is None:
        raise EmitError("a gate should have constant weights, biases and grids; build the bundle again")
    # As the kernels do: the product of both scales in float32, the rest in double precision.
    product = float(np.float32(grids[0].scale) * np.float32(grids[1].scale))
    multiplier, shift = quantized_multiplier(product / float(np.float32(grids[2].scale)))
    rectified = operator.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.RELU
    least = max(-128, grids[2].zero_point) if rectified else -128
    return LayerNumbers(codes, biases, grids[0].zero_point, grids[2].zero_point, multiplier, shift, least)


def quantized_multiplier(value: float) -> tuple[int, int]:
    """`value` > 0 as multiplier x 2^(shift - 31), the multiplier having 31 bits, as the kernels write it."""
    fraction, shift = math.frexp(value)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    return (multiplier // 2, shift + 1) if multiplier == 2**31 else (multiplier, shift)


def _output(manifest: Manifest, stage: int, name: str) -> TensorSpec:
    found = [tensor for tensor in manifest.stages[stage].outputs if tensor.name == name]
    if not found:
        raise EmitError(f"stage {stage} should put out {name}, found {', '.join(t.name for t in manifest.stages[stage].outputs)}")
    return found[0]
