"""Whether a flatbuffer is a model of the kind that `convert` writes, decided before LiteRT sees a byte of it.

A model file is a program, and LiteRT believes what stands in it: a wrong offset, index or shape may end the process or read what is
not its own. So the file is walked here: every offset, every index, every tensor's size, the order of the operators, and for each
operator the shape that follows from its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tflite_runtime_app.admission.flatbuffer_reader import read_flatbuffer
from tflite_runtime_app.admission.flatbuffer_schema import (
    FLOAT16,
    FLOAT32,
    IDENTIFIER,
    INT8,
    INT32,
    VERSION,
    Model,
    Operator,
    Quantization,
    SignatureDef,
    SubGraph,
    Tensor,
)
from tflite_runtime_app.admission.integer_rules import INTEGER
from tflite_runtime_app.admission.operator_rules import Misfit, Operand, Rules
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible

MAX_TENSOR_BYTES = 1 << 30
MAX_RANK = 6
MAX_NAME = 64  # letters
SCALES = (1e-20, 1e20)  # beyond these, products and ratios of scales leave float32
_DTYPE: dict[int, np.dtype[Any]] = {
    INT8: np.dtype(np.int8),
    INT32: np.dtype("<i4"),
    FLOAT16: np.dtype("<f2"),
    FLOAT32: np.dtype("<f4"),
}
_NAME = {INT8: "int8", INT32: "int32", FLOAT16: "float16", FLOAT32: "float32"}


def check(flatbuffer: bytes, rules: Rules = INTEGER) -> None:
    """Returns when LiteRT can be given `flatbuffer`: it holds the tensors and operators that `rules` allow, each in its bounds.

    Raises BundleCorrupt where it points outside itself, BundleIncompatible naming the first part that no bundle has.
    """
    model = read_flatbuffer(flatbuffer, Model, IDENTIFIER)
    _require(model.version == VERSION, f"the model has schema version {model.version}, expected {VERSION}")
    names = [_operator_name(model, number, rules) for number in range(len(model.operator_codes))]
    _require(bool(model.buffers) and not model.buffers[0].data.size, "buffer 0 should be the empty one")
    _require(bool(model.subgraphs), "the model has no subgraph")
    for number, graph in enumerate(model.subgraphs):
        _check_graph(model, graph, f"subgraph {number}", names, rules)
    _check_signatures(model)


def _operator_name(model: Model, number: int, rules: Rules) -> str:
    code = model.operator_codes[number]
    found = max(code.builtin_code, code.deprecated_builtin_code)  # LiteRT's own way to find out
    _require(found in rules.operators, f"operator code {number} is builtin operator {found}, which no {rules.what} has")
    _require(1 <= code.version <= 100, f"operator code {number} has version {code.version}")
    return rules.operators[found]


def _check_graph(model: Model, graph: SubGraph, where: str, names: Sequence[str], rules: Rules) -> None:
    tensors = [_operand(model, tensor, f"tensor {number} of {where}", rules) for number, tensor in enumerate(graph.tensors)]
    inputs, outputs = [int(index) for index in graph.inputs], [int(index) for index in graph.outputs]
    for what, indices, kind in (("inputs", inputs, rules.enters), ("outputs", outputs, rules.leaves)):
        inside = all(0 <= index < len(tensors) for index in indices)
        _require(
            inside and bool(indices) and len(set(indices)) == len(indices), f"{where} has {what} {indices[:8]}, no such tensors"
        )
        computed = all(tensors[index].values is None and tensors[index].type == kind for index in indices)
        _require(computed, f"{where}: its {what} should be {_NAME[kind]} and not constant")
    _require(not set(inputs) & set(outputs), f"{where} puts out what it was given")
    for index in inputs:
        tensors[index] = replace(tensors[index], below=rules.ids)
    ready = set(inputs) | {index for index, tensor in enumerate(tensors) if tensor.values is not None}
    for number, operator in enumerate(graph.operators):
        name = _opcode(operator, names, f"operator {number} of {where}")
        _check_operator(operator, tensors, ready, f"operator {number} of {where} ({name})", name, rules)
    missing = sorted(set(outputs) - ready)
    _require(not missing, f"{where} puts out tensor {missing[:1]}, which no operator makes")


def _opcode(operator: Operator, names: Sequence[str], where: str) -> str:
    _require(operator.opcode_index < len(names), f"{where} has operator code {operator.opcode_index} of {len(names)}")
    return names[operator.opcode_index]


def _check_operator(operator: Operator, tensors: list[Operand], ready: set[int], where: str, name: str, rules: Rules) -> None:
    """`ready` holds the tensors that have values by now; the operator's output joins them."""
    inputs, outputs = [int(index) for index in operator.inputs], [int(index) for index in operator.outputs]
    early = [index for index in inputs if index != -1 and index not in ready]
    _require(not early, f"{where} reads tensor {early[:1]}, which is none or has no value yet")
    new = len(outputs) == 1 and 0 <= outputs[0] < len(tensors) and outputs[0] not in ready
    _require(new, f"{where} should make one tensor that nothing made before, makes {outputs[:8]}")
    output = tensors[outputs[0]]
    node = rules.node(operator.builtin_options, tuple(None if index == -1 else tensors[index] for index in inputs), output)
    try:
        shape = rules.output_shape(name, node)
    except Misfit as misfit:
        raise BundleIncompatible(f"{where}: {misfit}; {BUILD_AGAIN}") from None
    _require(shape == output.shape, f"{where} makes shape {shape}, its output is declared {output.shape}")
    tensors[outputs[0]] = replace(output, below=rules.below(name, node))
    ready.add(outputs[0])


def _operand(model: Model, tensor: Tensor, where: str, rules: Rules) -> Operand:
    shape = tuple(int(size) for size in tensor.shape)
    known = " or ".join(_NAME[kind] for kind in sorted(rules.types, reverse=True))
    _require(tensor.type in rules.types, f"{where} has type {tensor.type}, expected {known}")
    _require(not tensor.is_variable, f"{where} is a variable")
    _require(len(shape) <= MAX_RANK and all(size >= 1 for size in shape), f"{where} has shape {shape[:8]}")
    size = math.prod(shape) * _DTYPE[tensor.type].itemsize
    _require(size <= MAX_TENSOR_BYTES, f"{where} would take {size} bytes, more than {MAX_TENSOR_BYTES}")
    _require(tensor.buffer < len(model.buffers), f"{where} has buffer {tensor.buffer} of {len(model.buffers)}")
    data = model.buffers[tensor.buffer].data
    constant = data.size > 0
    _require(size == data.size or not constant, f"{where} has {data.size} bytes of values, its shape {shape} needs {size}")
    computed = " or ".join(_NAME[kind] for kind in sorted(rules.computed, reverse=True))
    _require(constant or tensor.type in rules.computed, f"{where} is computed and should be {computed}")
    scale, zero_point = _common_grid(tensor, shape, constant, where)
    values = data.view(_DTYPE[tensor.type]) if constant else None
    finite = values is None or values.dtype.kind != "f" or bool(np.isfinite(values).all())
    _require(finite, f"{where} holds numbers that are not finite")
    return Operand(shape, tensor.type, scale, values, zero_point=zero_point)


def _common_grid(tensor: Tensor, shape: tuple[int, ...], constant: bool, where: str) -> tuple[float | None, int | None]:
    """The tensor's scale and zero point, None when it has none or one per channel."""
    grid = tensor.quantization or Quantization()
    scales, zeros = grid.scale, grid.zero_point
    _require(grid.details_type == 0, f"{where} is quantized in a way that no bundle is")
    _require(len(scales) == len(zeros), f"{where} has {len(scales)} scales and {len(zeros)} zero points")
    if not len(scales):
        _require(tensor.type != INT8, f"{where} is int8 without a scale")
        return None, None
    _require(tensor.type in (INT8, INT32), f"{where} is {_NAME[tensor.type]} and has a scale")
    least, most = (scales[0], scales[0]) if len(scales) == 1 else (scales.min(), scales.max())
    valid = bool(SCALES[0] <= least and most <= SCALES[1])  # False for NaN too
    _require(valid, f"{where} has a scale that is not finite and positive")
    low, high = (-128, 127) if tensor.type == INT8 else (0, 0)
    lowest, highest = (zeros[0], zeros[0]) if len(zeros) == 1 else (zeros.min(), zeros.max())
    _require(bool(low <= lowest and highest <= high), f"{where} has a zero point outside {low} … {high}")
    axis = grid.quantized_dimension
    if len(scales) == 1:
        _require(axis == 0 or 0 < axis < len(shape), f"{where} is quantized along dimension {axis} of {len(shape)}")
        return float(scales[0]), int(zeros[0])
    along = constant and 0 <= axis < len(shape) and len(scales) == shape[axis]
    _require(along and not zeros.any(), f"{where} should be a constant with a scale for each of its channels, symmetric")
    return None, None


def _check_signatures(model: Model) -> None:
    """One signature for each subgraph, which names exactly its inputs and outputs."""
    keys = [signature.signature_key for signature in model.signature_defs]
    _require(all(map(_is_name, keys)) and len(set(keys)) == len(keys), "signatures should have names, each its own")
    graphs = sorted(signature.subgraph_index for signature in model.signature_defs)
    _require(graphs == list(range(len(model.subgraphs))), "each subgraph should have one signature")
    for number, signature in enumerate(model.signature_defs):
        for what, named, own in _named(signature, model.subgraphs[signature.subgraph_index]):
            _require(named == own, f"signature {number} names {what} {named[:8]}, its subgraph has {own[:8]}")


def _named(signature: SignatureDef, graph: SubGraph) -> Iterator[tuple[str, list[int], list[int]]]:
    for what, maps, own in (("inputs", signature.inputs, graph.inputs), ("outputs", signature.outputs, graph.outputs)):
        names = [entry.name for entry in maps]
        valid = all(map(_is_name, names)) and len(set(names)) == len(names)
        _require(valid, f"{what} of a signature should have names, each its own")
        yield what, sorted(entry.tensor_index for entry in maps), sorted(int(index) for index in own)


def _is_name(text: str) -> bool:
    """As in stage_0 and hidden_lo; these names appear in messages, so they may not hold line feeds or a terminal's commands."""
    return text.isascii() and text.isidentifier() and len(text) <= MAX_NAME


def _require(condition: bool, finding: str) -> None:
    if not condition:
        raise BundleIncompatible(f"{finding}; {BUILD_AGAIN}")
