"""The pass that quantizes: the float file and the decided grids -> the full-integer file.

The quantizer is Google's ai-edge-quantizer with a calibration result of our own: every computed tensor gets the minimum and maximum
of its grid, so that the scale and zero point it derives are the ones decided in `calibration/ranges.py` (`convert/tflite/audit.py` reads
them back).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from convert.passes.state import GraphState
from convert.stages.layers import layer_name
from convert.support.errors import EmitError
from convert.support.quiet import quiet
from convert.tflite.audit import grid_of, same_grid
from convert.tflite.flatbuffer import constant, constants, operator_name, prune, read_model, schema, text, write_model

FURTHEST = 64  # steps that rounding moves a weight at most; what is further away belongs to another model


def apply(state: GraphState) -> GraphState:
    """The file with int8 tensors throughout (int32 biases and shapes), constants inside the flatbuffer. Fires once a computed tensor.

    Raises EmitError when a role has no grid, or codes do not fit their layer.
    """
    model, by_name, grids = state.model, state.roles, state.grids
    missing = sorted(set(by_name.values()) - set(grids))
    if missing:
        raise EmitError(f"no range for {len(missing)} tensors, the first is {missing[0]}; calibrate again with --images")
    prune(model)
    with quiet():
        from ai_edge_quantizer import quantizer, recipe

        _flatten_biases(model)
        ours = quantizer.Quantizer(write_model(model))
        ours.load_quantization_recipe(recipe.static_wi8_ai8())
        ranges = _calibration_result(model, by_name, grids)
        result = ours.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    integer = read_model(bytes(result.quantized_model))
    exact = constants(model)
    _place_constants(integer, exact, by_name, grids)
    _place_weights(integer, by_name, state.weights)
    prune(integer)
    kept = exact if state.stream == "int16" else {}  # large, and of no use to other streams
    return replace(state, model=integer, exact=kept, fired=len(ranges))


def _place_constants(
    integer: Any, exact: Mapping[str, NDArray[Any]], by_name: Mapping[str, str], grids: Mapping[str, Grid]
) -> None:
    """Constants that have a role of their own lie on that role's grid, not on one that the quantizer chose."""
    values = {name: found for name, found in exact.items() if name in by_name}
    for graph in integer.subgraphs:
        for tensor in graph.tensors:
            if text(tensor.name) in values:
                grid = grids[by_name[text(tensor.name)]]
                if same_grid(grid, grid_of(tensor)):
                    continue  # there already, to the last bit of what the operator's other tensors have
                codes = np.rint(values[text(tensor.name)] / grid.scale) + grid.zero_point
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(np.clip(codes, -128, 127).astype(np.int8).tobytes(), np.uint8)
                integer.buffers.append(buffer)
                tensor.buffer = len(integer.buffers) - 1
                tensor.quantization.scale, tensor.quantization.zeroPoint = [grid.scale], [grid.zero_point]


def _place_weights(integer: Any, by_name: Mapping[str, str], weights: Mapping[str, NDArray[np.int8]]) -> None:
    """Rounded layers have their own codes, on the steps that both sides take: a row's largest weight is code 127."""
    for graph in integer.subgraphs:
        for operator in graph.operators:
            role = by_name.get(text(graph.tensors[operator.outputs[0]].name), "")
            codes = weights.get(layer_name(role)) if operator_name(integer, operator) == "FULLY_CONNECTED" else None
            if codes is None:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            nearest = constant(integer, tensor)
            if nearest is None or nearest.shape != codes.shape or np.abs(nearest.astype(int) - codes).max() > FURTHEST:
                raise EmitError(f"the rounded weights of {role} do not fit this model's; calibrate again with --images")
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(codes.tobytes(), np.uint8)
            integer.buffers.append(buffer)
            tensor.buffer = len(integer.buffers) - 1


def _calibration_result(model: Any, by_name: Mapping[str, str], grids: Mapping[str, Grid]) -> dict[str, dict[str, Any]]:
    """{tensor name: {"min", "max"}} with one entry along every axis, the quantizer's form of a per-tensor range."""
    result: dict[str, dict[str, Any]] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            role = by_name.get(text(tensor.name))
            if role is not None and constant(model, tensor) is None:
                shape, grid = (1,) * len(tensor.shape), grids[role]
                result[text(tensor.name)] = {
                    "min": np.full(shape, grid.minimum, np.float32),
                    "max": np.full(shape, grid.maximum, np.float32),
                }
    return result


def _flatten_biases(model: Any) -> None:
    """Biases of FULLY_CONNECTED have one axis: the converter leaves some as [1, n], which per-channel scales do not allow."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) == "FULLY_CONNECTED" and len(operator.inputs) > 2 and operator.inputs[2] >= 0:
                bias = graph.tensors[operator.inputs[2]]
                bias.shape = [int(np.prod(bias.shape))]
