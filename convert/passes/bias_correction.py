"""What a layer is off by on average, added to its bias in the finished file: b <- b + round(c / step), step that of input x weight.

The layers' own codes stay, so the mean error may be measured on the file without the correction and no second file needs to be made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.passes.state import GraphState
from convert.support.errors import EmitError
from convert.tflite.flatbuffer import constant, operator_name, prune, schema, text


def apply(state: GraphState) -> GraphState:
    """Layers that give a corrected role have its correction in a bias of their own; the old one may be shared with other heads.

    Raises EmitError when no layer gives a corrected role.
    """
    model, roles, corrections, fired = state.model, state.roles, state.corrections, 0
    left = set(corrections)
    for graph in model.subgraphs:
        for operator in graph.operators:
            role = roles.get(text(graph.tensors[operator.outputs[0]].name), "")
            if role not in corrections or operator_name(model, operator) != "FULLY_CONNECTED":
                continue
            left.discard(role)
            reads, weight = (graph.tensors[index] for index in operator.inputs[:2])
            steps = np.float64(reads.quantization.scale[0]) * np.asarray(weight.quantization.scale, np.float64)
            has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
            old = constant(model, graph.tensors[operator.inputs[2]]) if has_bias else np.int32(0)
            assert old is not None  # a layer's bias is never computed
            codes = (old + np.rint(corrections[role] / steps)).astype(np.int32)
            graph.tensors.append(_bias(model, f"{role}/bias", codes, steps))
            operator.inputs = [int(operator.inputs[0]), int(operator.inputs[1]), len(graph.tensors) - 1]
            fired += 1
    if left:
        raise EmitError(f"no layer gives {sorted(left)[0]}, whose bias is to be corrected; calibrate again with --images")
    if fired:
        prune(model)
    return replace(state, fired=fired)


def _bias(model: Any, name: str, codes: NDArray[np.int32], steps: NDArray[np.float64]) -> Any:
    """A constant int32 tensor on a grid per channel."""
    buffer, tensor, grid = schema.BufferT(), schema.TensorT(), schema.QuantizationParametersT()
    buffer.data = np.frombuffer(codes.tobytes(), np.uint8)
    model.buffers.append(buffer)
    grid.scale, grid.zeroPoint = steps.astype(np.float32), np.zeros(len(steps), np.int64)
    tensor.name, tensor.type, tensor.quantization = name.encode(), schema.TensorType.INT32, grid
    tensor.shape, tensor.hasRank, tensor.buffer = [len(codes)], True, len(model.buffers) - 1
    return tensor
