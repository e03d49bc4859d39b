"""Gates as signatures `gate_k` of the integer file: one int8 FULLY_CONNECTED from three standardised features to one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import Gate
from calibration.ranges import Grid
from convert.flatbuffer import read_model, schema, write_model


def add_gates(content: bytes, gates: Sequence[Gate]) -> bytes:
    """The file with the signatures gate_0, gate_1, …: `features` int8 [1, 3] -> `score` int8 [1, 1], score = w·x + b."""
    model = read_model(content)
    for number, gate in enumerate(gates):
        _add(model, f"gate_{number}", gate)
    return write_model(model)


def _add(model: Any, key: str, gate: Gate) -> None:
    weights = np.array(gate.weights)
    step = max(float(np.abs(weights).max()), 1e-8) / 127
    codes = np.round(weights / step).astype(np.int8).reshape(1, 3)
    bias_step = gate.features.scale * step
    bias = np.array([round(gate.bias / bias_step)], np.int32)
    tensors = [
        _tensor(model, "features", (1, 3), gate.features),
        _tensor(model, "weights", (1, 3), Grid(step, 0), codes),
        _tensor(model, "bias", (1,), Grid(bias_step, 0), bias),
        _tensor(model, "score", (1, 1), gate.score),
    ]
    operator = schema.OperatorT()
    operator.opcodeIndex = _operator_code(model, schema.BuiltinOperator.FULLY_CONNECTED)
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.FullyConnectedOptions,
        schema.FullyConnectedOptionsT(),
    )
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = key.encode(), tensors, [operator], [0], [3]
    model.subgraphs.append(graph)
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = key.encode(), len(model.subgraphs) - 1
    definition.inputs, definition.outputs = [_entry("features", 0)], [_entry("score", 3)]
    model.signatureDefs.append(definition)


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
