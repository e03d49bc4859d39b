"""An interpreter of integer flatbuffers in numpy, written from the quantization specification; no kernel of TensorFlow Lite.

Every operator computes in float64 on the real values of its integer inputs, real = scale * (code - zero_point), and rounds the result
to its output's grid, halves away from zero. What a good integer kernel gives differs from that by its fixed-point multiplier alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import erf
from typing import Any

import numpy as np

from convert.tflite.flatbuffer import constant, operator_name

Values = dict[int, np.ndarray]


def grid(tensor: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points, shaped so that they broadcast against the tensor (per channel on the axis that it names)."""
    quantization = tensor.quantization
    scales, zero_points = np.asarray(quantization.scale, np.float64), np.asarray(quantization.zeroPoint, np.float64)
    if scales.size == 1:
        return scales.reshape(()), zero_points.reshape(())
    shape = [1] * len(tensor.shape)
    shape[quantization.quantizedDimension] = -1
    return scales.reshape(shape), zero_points.reshape(shape)


def real(codes: np.ndarray, tensor: Any) -> np.ndarray:
    """The real values of a tensor's codes."""
    scales, zero_points = grid(tensor)
    return scales * (codes.astype(np.float64) - zero_points)


def codes_of(values: np.ndarray, tensor: Any) -> np.ndarray:
    """Rounded to the tensor's grid, halves away from zero, clipped to int8."""
    scales, zero_points = grid(tensor)
    steps = values / scales
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5) + zero_points
    return np.clip(rounded, -128, 127).astype(np.int8)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(erf)(x / 2**0.5))


def _softmax(x: np.ndarray) -> np.ndarray:
    power = np.exp(x - x.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def _log(x: np.ndarray) -> np.ndarray:
    """The lowest code where there is no logarithm."""
    return np.log(x, where=x > 0, out=np.full_like(x, -np.inf))


def _convolve(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, options: Any) -> np.ndarray:
    """Patches that neither overlap nor need padding: the strides are the kernel's own size."""
    size, height, width, colours = weights.shape
    assert (options.strideH, options.strideW) == (height, width)
    down, across = x.shape[1] // height, x.shape[2] // width
    cut = x[:, : down * height, : across * width].reshape(-1, down, height, across, width, colours)
    patches = cut.transpose(0, 1, 3, 2, 4, 5).reshape(-1, down, across, height * width * colours)
    return patches @ weights.reshape(size, -1).T + bias


def _fully_connected(a: np.ndarray, weights: np.ndarray, *rest: Any) -> np.ndarray:
    """`rest` is the bias, where there is one, and the options: without keepNumDims all axes but the last become one."""
    rows = a if rest[-1].keepNumDims else a.reshape(-1, a.shape[-1])
    return rows @ weights.T + (rest[0] if len(rest) > 1 else 0.0)


def _batch_matmul(a: np.ndarray, b: np.ndarray, options: Any) -> np.ndarray:
    return (a.swapaxes(-1, -2) if options.adjX else a) @ (b.swapaxes(-1, -2) if options.adjY else b)


def _slice(x: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray, options: Any) -> np.ndarray:
    assert (options.ellipsisMask, options.newAxisMask, options.shrinkAxisMask) == (0, 0, 0)
    where = tuple(
        slice(None if options.beginMask >> i & 1 else int(b), None if options.endMask >> i & 1 else int(e), int(s))
        for i, (b, e, s) in enumerate(zip(begin, end, strides, strict=True))
    )
    return x[where]


# Operators on real values; the last argument is the operator's options.
ARITHMETIC: dict[str, Callable[..., np.ndarray]] = {
    "ADD": lambda a, b, _: a + b,
    "SUB": lambda a, b, _: a - b,
    "MUL": lambda a, b, _: a * b,
    "MAXIMUM": lambda a, b, _: np.maximum(a, b),
    "MINIMUM": lambda a, b, _: np.minimum(a, b),
    "RSQRT": lambda a, _: 1 / np.sqrt(a),
    "ELU": lambda a, _: np.where(a < 0, np.expm1(a), a),
    "LOG": lambda a, _: _log(a),
    "GELU": lambda a, options: _gelu(a),
    "LOGISTIC": lambda a, _: 1 / (1 + np.exp(-a)),
    "SOFTMAX": lambda a, _: _softmax(a),
    "FULLY_CONNECTED": _fully_connected,
    "CONV_2D": _convolve,
    "BATCH_MATMUL": _batch_matmul,
    "MEAN": lambda a, axes, options: a.mean(tuple(int(axis) for axis in np.ravel(axes)), keepdims=options.keepDims),
}
# Operators that move codes about without touching them.
MOVES: dict[str, Callable[..., np.ndarray]] = {
    "RESHAPE": lambda a, shape, _: a.reshape([int(n) for n in shape]),
    "TRANSPOSE": lambda a, order, _: a.transpose([int(n) for n in order]),
    "STRIDED_SLICE": _slice,
    "REDUCE_MAX": lambda a, axes, options: a.max(tuple(int(axis) for axis in np.ravel(axes)), keepdims=options.keepDims),
}


def constants(model: Any, graph: Any) -> Values:
    """The codes of every constant tensor."""
    found = {number: constant(model, tensor) for number, tensor in enumerate(graph.tensors)}
    return {number: value for number, value in found.items() if value is not None}


def step(model: Any, graph: Any, operator: Any, known: Mapping[int, np.ndarray]) -> np.ndarray:
    """The codes that an operator gives for the codes of its inputs."""
    name, options = operator_name(model, operator), operator.builtinOptions
    inputs = [int(number) for number in operator.inputs if number >= 0]
    target = graph.tensors[operator.outputs[0]]
    assert not getattr(options, "fusedActivationFunction", 0)
    if name == "CONCATENATION":
        for number in inputs:
            assert np.allclose(grid(graph.tensors[number]), grid(target)), "a concatenation does not rescale"
        return np.concatenate([known[number] for number in inputs], options.axis)
    if name in MOVES:
        assert np.allclose(grid(graph.tensors[inputs[0]]), grid(target)), f"{name} does not rescale"
        return MOVES[name](*(known[number] for number in inputs), options)
    operands = [known[n] if name == "MEAN" and n == inputs[1] else real(known[n], graph.tensors[n]) for n in inputs]
    return codes_of(ARITHMETIC[name](*operands, options), target)


def run(model: Any, graph: Any, inputs: Values) -> Values:
    """All tensors of the graph, each operator fed with what this interpreter computed before."""
    known = {**constants(model, graph), **inputs}
    for operator in graph.operators:
        known[int(operator.outputs[0])] = step(model, graph, operator, known)
    return known
