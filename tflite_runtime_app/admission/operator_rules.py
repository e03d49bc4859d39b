"""What each operator of our bundles may look like: from its inputs and options follows the shape of its output, or it is refused.

LiteRT's kernels check much of this themselves and trust the rest; nothing here is left to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.admission import flatbuffer_schema as schema
from tflite_runtime_app.admission.flatbuffer_schema import INT8, INT32, NO_ACTIVATION, RELU

Shape = tuple[int, ...]
MAX_ELEMENTWISE_RANK, MAX_SLICE_RANK, MAX_MATMUL_RANK = 4, 5, 5  # what LiteRT's kernels lay out in arrays of fixed length


class Misfit(Exception):
    """An operator that no bundle holds; the message says what is wrong with it, not where it stands."""


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """One tensor as an operator sees it. `values` are a constant's, flat, else None; `scale` is a common grid's, else None."""

    shape: Shape
    type: int
    scale: float | None
    values: npt.NDArray[Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator: `inputs` hold None for one that is left out."""

    options: Any
    inputs: tuple[Operand | None, ...]
    output: Operand

    def activation(self, number: int) -> Operand:
        """Input `number`: int8, on one grid, constant or computed."""
        operand = self._input(number)
        _require(operand.type == INT8 and operand.scale is not None, f"input {number} should be int8 on one grid")
        return operand

    def numbers(self, number: int) -> list[int]:
        """Input `number`, a constant list of int32."""
        operand = self._input(number)
        fits = operand.type == INT32 and operand.values is not None and len(operand.shape) <= 1
        _require(fits, f"input {number} should be a constant list of int32")
        assert operand.values is not None
        return [int(value) for value in operand.values]

    def count(self, least: int, most: int) -> None:
        _require(least <= len(self.inputs) <= most, f"expected {least} to {most} inputs, found {len(self.inputs)}")

    def _input(self, number: int) -> Operand:
        operand = self.inputs[number] if number < len(self.inputs) else None
        if operand is None:
            raise Misfit(f"input {number} is missing")
        return operand


def output_shape(name: str, node: Node) -> Shape:
    """The shape that operator `name` gives. Raises Misfit for options or inputs that our bundles never have."""
    rule, kinds = RULES[name]
    _require(type(node.options) in kinds, f"options of kind {type(node.options).__name__} do not belong to it")
    activation = getattr(node.options, "fused_activation", NO_ACTIVATION)
    _require(activation in (NO_ACTIVATION, RELU), f"fused activation {activation} is not one of our bundles'")
    _require(node.output.type == INT8 and node.output.scale is not None, "the output should be int8 on one grid")
    return rule(node)


def _elementwise(node: Node) -> Shape:
    node.count(2, 2)
    left, right = node.activation(0).shape, node.activation(1).shape
    _require(max(len(left), len(right)) <= MAX_ELEMENTWISE_RANK, f"shapes {left} and {right} have too many dimensions")
    try:
        return tuple(int(size) for size in np.broadcast_shapes(left, right))
    except ValueError:
        raise Misfit(f"shapes {left} and {right} do not go together") from None


def _sum(node: Node) -> Shape:
    scales = [node.activation(number).scale or 0.0 for number in (0, 1)]
    # LiteRT ends the process where its fixed-point factor 2 max(s1, s2) / (2^20 s) is not below 1.
    _require(2 * max(scales) < 2**20 * (node.output.scale or 0.0), "the output's scale is far too small for its inputs'")
    return _elementwise(node)


def _unary(node: Node) -> Shape:
    node.count(1, 1)
    return node.activation(0).shape


def _softmax(node: Node) -> Shape:
    _require(node.options.beta == 1.0, f"beta should be 1, found {node.options.beta}")
    shape = _unary(node)
    _require(1 <= len(shape) <= 4, f"shape {shape} should have 1 to 4 dimensions")
    return shape


def _fully_connected(node: Node) -> Shape:
    node.count(2, 3)
    options, rows = node.options, node.activation(0)
    plain = not (options.weights_format or options.asymmetric_quantize_inputs or options.quantized_bias_type)
    _require(plain, "weights should be plain int8 and biases int32")
    weights = node.inputs[1]
    fits = weights is not None and weights.values is not None and weights.type == INT8 and len(weights.shape) == 2
    _require(fits, "weights should be a constant int8 matrix")
    assert weights is not None
    outputs, width = weights.shape
    bias = node.inputs[2] if len(node.inputs) == 3 else None
    valid = bias is None or (bias.type == INT32 and bias.values is not None and bias.shape == (outputs,))
    _require(valid, f"biases should be {outputs} constant int32")
    _require(bool(rows.shape) and rows.shape[-1] == width, f"rows of shape {rows.shape} do not fit weights of width {width}")
    if options.keep_num_dims:
        return (*rows.shape[:-1], outputs)
    return math.prod(rows.shape[:-1]), outputs


def _batch_matmul(node: Node) -> Shape:
    node.count(2, 2)
    _require(not node.options.asymmetric_quantize_inputs, "inputs should be int8 already")
    left, right = node.activation(0).shape, node.activation(1).shape
    _require(all(2 <= len(shape) <= MAX_MATMUL_RANK for shape in (left, right)), f"shapes {left} and {right} are no matrices")
    rows, inner = reversed(left[-2:]) if node.options.adj_x else left[-2:]
    other, columns = reversed(right[-2:]) if node.options.adj_y else right[-2:]
    _require(inner == other, f"matrices of {left} and {right} do not go together")
    try:
        batches = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise Misfit(f"shapes {left} and {right} do not go together") from None
    return (*(int(size) for size in batches), rows, columns)


def _reshape(node: Node) -> Shape:
    node.count(2, 2)
    wanted, elements = node.numbers(1), math.prod(node.activation(0).shape)
    known = math.prod(size for size in wanted if size != -1)
    _require(all(size >= 1 or size == -1 for size in wanted) and wanted.count(-1) <= 1, f"no shape: {wanted}")
    shape = tuple(elements // known if size == -1 else size for size in wanted)
    _require(math.prod(shape) == elements, f"{elements} values do not have shape {shape}")
    return shape


def _transpose(node: Node) -> Shape:
    node.count(2, 2)
    shape, order = node.activation(0).shape, node.numbers(1)
    _require(sorted(order) == list(range(len(shape))) and len(shape) <= 6, f"{order} is no order of {len(shape)} dimensions")
    return tuple(shape[axis] for axis in order)


def _concatenation(node: Node) -> Shape:
    node.count(1, 1000)
    shapes = [node.activation(number).shape for number in range(len(node.inputs))]
    rank, axis = len(shapes[0]), node.options.axis
    _require(-rank <= axis < rank, f"axis {axis} is none of {rank}")
    axis %= rank
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    _require(len(rest) == 1 and {len(shape) for shape in shapes} == {rank}, f"shapes {shapes} do not go together")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _mean(node: Node) -> Shape:
    node.count(2, 2)
    shape, axes = node.activation(0).shape, node.numbers(1)
    rank = len(shape)
    _require(1 <= rank <= 4 and all(-rank <= axis < rank for axis in axes), f"axes {axes} are none of {rank}")
    gone = {axis % rank for axis in axes}
    _require(len(gone) == len(axes) >= 1, f"axes {axes} are none or name one twice")
    if node.options.keep_dims:
        return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _strided_slice(node: Node) -> Shape:
    node.count(4, 4)
    options, shape = node.options, node.activation(0).shape
    begin, end, strides = (node.numbers(number) for number in (1, 2, 3))
    _require(
        not (options.ellipsis_mask or options.new_axis_mask or options.offset), "masks of a kind that our bundles never have"
    )
    rank = len(shape)
    _require(
        {len(begin), len(end), len(strides)} == {rank} and 1 <= rank <= MAX_SLICE_RANK, f"bounds should be {rank} numbers each"
    )
    _require(all(stride >= 1 for stride in strides), f"strides {strides} should be positive")
    found: list[int] = []
    for axis, size in enumerate(shape):
        bit = 1 << axis
        first = 0 if options.begin_mask & bit else _bound(begin[axis], size)
        if options.shrink_axis_mask & bit:
            _require(-size <= begin[axis] < size and not options.begin_mask & bit, f"index {begin[axis]} is none of {size}")
            continue
        last = size if options.end_mask & bit else _bound(end[axis], size)
        _require(first < last, f"nothing lies between {first} and {last} of axis {axis}")
        found.append(len(range(first, last, strides[axis])))
    return tuple(found)


def _bound(index: int, size: int) -> int:
    return min(max(index + size if index < 0 else index, 0), size)


def _require(condition: bool, finding: str) -> None:
    if not condition:
        raise Misfit(finding)


_NONE = type(None)
Rule = tuple[Callable[[Node], Shape], tuple[type, ...]]
RULES: dict[str, Rule] = {
    "ADD": (_sum, (schema.AddOptions,)),
    "SUB": (_sum, (schema.SubOptions,)),
    "MUL": (_elementwise, (schema.MulOptions,)),
    "MAXIMUM": (_elementwise, (schema.MaximumMinimumOptions,)),
    "MINIMUM": (_elementwise, (schema.MaximumMinimumOptions,)),
    "GELU": (_unary, (schema.GeluOptions,)),
    "LOGISTIC": (_unary, (_NONE,)),
    "RSQRT": (_unary, (_NONE,)),
    "QUANTIZE": (_unary, (_NONE, schema.QuantizeOptions)),
    "SOFTMAX": (_softmax, (schema.SoftmaxOptions,)),
    "FULLY_CONNECTED": (_fully_connected, (schema.FullyConnectedOptions,)),
    "BATCH_MATMUL": (_batch_matmul, (schema.BatchMatMulOptions,)),
    "RESHAPE": (_reshape, (_NONE, schema.ReshapeOptions)),
    "TRANSPOSE": (_transpose, (_NONE, schema.TransposeOptions)),
    "CONCATENATION": (_concatenation, (schema.ConcatenationOptions,)),
    "MEAN": (_mean, (schema.ReducerOptions,)),
    "STRIDED_SLICE": (_strided_slice, (schema.StridedSliceOptions,)),
}
# The schema's BuiltinOperator: the operators that our bundles are made of, by their number.
OPERATORS: dict[int, str] = {
    0: "ADD",
    2: "CONCATENATION",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    18: "MUL",
    22: "RESHAPE",
    25: "SOFTMAX",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    45: "STRIDED_SLICE",
    55: "MAXIMUM",
    57: "MINIMUM",
    76: "RSQRT",
    114: "QUANTIZE",
    126: "BATCH_MATMUL",
    150: "GELU",
}
