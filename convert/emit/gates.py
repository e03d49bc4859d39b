"""Gates as signatures `gate_k` of the integer file: one int8 FULLY_CONNECTED, or two with ReLU between, from three features to a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import Gate
from calibration.ranges import Grid
from convert.tflite.flatbuffer import read_model, schema, write_model


def add_gates(content: bytes, gates: Sequence[Gate]) -> bytes:
    """The file with the signatures gate_0, gate_1, …: `features` int8 [1, 3] -> `score` int8 [1, 1], the gate's log odds."""
    model = read_model(content)
    for number, gate in enumerate(gates):
        _add(model, f"gate_{number}", gate)
    return write_model(model)


def _add(model: Any, key: str, gate: Gate) -> None:
    grids = [gate.features, *([gate.hidden] if gate.hidden else []), gate.score]
    names = ["features", *(["hidden"] if gate.hidden else []), "score"]
    widths = [len(gate.layers[0].weights[0]), *(len(layer.bias) for layer in gate.layers)]
    graph = schema.SubGraphT()
    graph.name, graph.operators = key.encode(), []
    graph.tensors = [_tensor(model, *facts) for facts in zip(names, [(1, width) for width in widths], grids, strict=True)]
    for number, layer in enumerate(gate.layers):
        weights = np.array(layer.weights)
        step = max(float(np.abs(weights).max()), 1e-8) / 127
        bias_step = grids[number].scale * step
        codes, bias = np.rint(weights / step).astype(np.int8), np.rint(np.array(layer.bias) / bias_step).astype(np.int32)
        graph.tensors.append(_tensor(model, f"weights_{number}", codes.shape, Grid(step, 0), codes))
        graph.tensors.append(_tensor(model, f"bias_{number}", bias.shape, Grid(bias_step, 0), bias))
        last = number == len(gate.layers) - 1
        graph.operators.append(
            _fully_connected(model, (number, len(graph.tensors) - 2, len(graph.tensors) - 1), number + 1, not last)
        )
    graph.inputs, graph.outputs = [0], [len(widths) - 1]
    model.subgraphs.append(graph)
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = key.encode(), len(model.subgraphs) - 1
    definition.inputs, definition.outputs = [_entry("features", 0)], [_entry("score", len(widths) - 1)]
    model.signatureDefs.append(definition)


def _fully_connected(model: Any, inputs: tuple[int, int, int], output: int, rectified: bool) -> Any:
    operator, options = schema.OperatorT(), schema.FullyConnectedOptionsT()
    kinds = schema.ActivationFunctionType
    options.fusedActivationFunction = kinds.RELU if rectified else kinds.NONE
    operator.opcodeIndex = _operator_code(model, schema.BuiltinOperator.FULLY_CONNECTED)
    operator.inputs, operator.outputs = list(inputs), [output]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
    return operator


def _tensor(model: Any, name: str, shape: tuple[int, ...], grid: Grid, values: NDArray[Any] | None = None) -> Any:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [grid.scale], [grid.zero_point]
    tensor.name, tensor.shape, tensor.hasRank, tensor.quantization = name.encode(), list(shape), True, quantization
    tensor.type = schema.TensorType.INT32 if values is not None and values.dtype == np.int32 else schema.TensorType.INT8
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _entry(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def _operator_code(model: Any, builtin: int) -> int:
    """The index of the operator's code in the model."""
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return index
    raise ValueError(f"the model has no operator {builtin}")
