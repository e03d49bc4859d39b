"""What a bundle may be made of: operators on int8 tensors, each on one grid, and constants."""

from __future__ import annotations

import math

from tflite_runtime_app.admission import flatbuffer_schema as schema
from tflite_runtime_app.admission.flatbuffer_schema import INT8, INT32
from tflite_runtime_app.admission.operator_rules import (
    NONE,
    Kinds,
    Node,
    Operand,
    Rule,
    Rules,
    Shape,
    batch_matmul,
    elementwise,
    reduced,
    require,
    reshaped,
    softmax,
    transpose,
    unary,
)

MAX_TABLE = 2.0**30  # steps; LiteRT's tables of values go through int32 before they are cut, and beyond it that is not defined
MAX_SLICE_RANK = 5  # what LiteRT's kernel lays out in an array of fixed length


def _made_int8(name: str, node: Node) -> None:
    require(node.output.type == INT8 and node.output.scale is not None, "the output should be int8 on one grid")


def _sum(node: Node) -> Shape:
    scales = [node.activation(number).scale or 0.0 for number in (0, 1)]
    # LiteRT ends the process where its fixed-point factor 2 max(s1, s2) / (2^20 s) is not below 1.
    require(2 * max(scales) < 2**20 * (node.output.scale or 0.0), "the output's scale is far too small for its inputs'")
    return elementwise(node)


def _elu(node: Node) -> Shape:
    shape, given = unary(node), node.activation(0)
    most = _step(given) * (127 - (given.zero_point or 0))
    require(most < MAX_TABLE * _step(node.output), f"{most:.3g}, which the input may hold, is far beyond the output's grid")
    return shape


def _log(node: Node) -> Shape:
    shape, step = unary(node), _step(node.activation(0))
    steps = max(abs(math.log(step)), abs(math.log(255 * step))) / _step(node.output)
    require(steps < MAX_TABLE, "the output's scale is far too small for logarithms of its input")
    return shape


def _step(operand: Operand) -> float:
    return operand.scale or 0.0


def _reduce_max(node: Node) -> Shape:
    given, made = node.activation(0), node.output
    same = (given.scale, given.zero_point) == (made.scale, made.zero_point)
    require(same, "the output should be on its input's grid: a maximum is not rescaled")
    return reduced(node)


def _fully_connected(node: Node) -> Shape:
    node.count(2, 3)
    options, rows = node.options, node.activation(0)
    plain = not (options.weights_format or options.asymmetric_quantize_inputs or options.quantized_bias_type)
    require(plain, "weights should be plain int8 and biases int32")
    weights = node.inputs[1]
    fits = weights is not None and weights.values is not None and weights.type == INT8 and len(weights.shape) == 2
    require(fits, "weights should be a constant int8 matrix")
    assert weights is not None
    outputs, width = weights.shape
    bias = node.inputs[2] if len(node.inputs) == 3 else None
    valid = bias is None or (bias.type == INT32 and bias.values is not None and bias.shape == (outputs,))
    require(valid, f"biases should be {outputs} constant int32")
    require(bool(rows.shape) and rows.shape[-1] == width, f"rows of shape {rows.shape} do not fit weights of width {width}")
    if options.keep_num_dims:
        return (*rows.shape[:-1], outputs)
    return math.prod(rows.shape[:-1]), outputs


def _reshape(node: Node) -> Shape:
    return reshaped(node, node.activation(0).shape)


def _concatenation(node: Node) -> Shape:
    node.count(1, 1000)
    shapes = [node.activation(number).shape for number in range(len(node.inputs))]
    rank, axis = len(shapes[0]), node.options.axis
    require(-rank <= axis < rank, f"axis {axis} is none of {rank}")
    axis %= rank
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    require(len(rest) == 1 and {len(shape) for shape in shapes} == {rank}, f"shapes {shapes} do not go together")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _strided_slice(node: Node) -> Shape:
    node.count(4, 4)
    options, shape = node.options, node.activation(0).shape
    begin, end, strides = (node.numbers(number) for number in (1, 2, 3))
    require(not (options.ellipsis_mask or options.new_axis_mask or options.offset), "masks of a kind that our bundles never have")
    rank = len(shape)
    require(
        {len(begin), len(end), len(strides)} == {rank} and 1 <= rank <= MAX_SLICE_RANK, f"bounds should be {rank} numbers each"
    )
    require(all(stride >= 1 for stride in strides), f"strides {strides} should be positive")
    found: list[int] = []
    for axis, size in enumerate(shape):
        bit = 1 << axis
        first = 0 if options.begin_mask & bit else _bound(begin[axis], size)
        if options.shrink_axis_mask & bit:
            require(-size <= begin[axis] < size and not options.begin_mask & bit, f"index {begin[axis]} is none of {size}")
            continue
        last = size if options.end_mask & bit else _bound(end[axis], size)
        require(first < last, f"nothing lies between {first} and {last} of axis {axis}")
        found.append(len(range(first, last, strides[axis])))
    return tuple(found)


def _bound(index: int, size: int) -> int:
    return min(max(index + size if index < 0 else index, 0), size)


_RULES: dict[str, tuple[Rule, Kinds]] = {
    "ADD": (_sum, (schema.AddOptions,)),
    "SUB": (_sum, (schema.SubOptions,)),
    "MUL": (elementwise, (schema.MulOptions,)),
    "MAXIMUM": (elementwise, (schema.MaximumMinimumOptions,)),
    "MINIMUM": (elementwise, (schema.MaximumMinimumOptions,)),
    "GELU": (unary, (schema.GeluOptions,)),
    "LOGISTIC": (unary, (NONE,)),
    "RSQRT": (unary, (NONE,)),
    "QUANTIZE": (unary, (NONE, schema.QuantizeOptions)),
    "ELU": (_elu, (NONE,)),
    "LOG": (_log, (NONE,)),
    "SOFTMAX": (softmax, (schema.SoftmaxOptions,)),
    "FULLY_CONNECTED": (_fully_connected, (schema.FullyConnectedOptions,)),
    "BATCH_MATMUL": (batch_matmul, (schema.BatchMatMulOptions,)),
    "RESHAPE": (_reshape, (NONE, schema.ReshapeOptions)),
    "TRANSPOSE": (transpose, (NONE, schema.TransposeOptions)),
    "CONCATENATION": (_concatenation, (schema.ConcatenationOptions,)),
    "MEAN": (reduced, (schema.ReducerOptions,)),
    "REDUCE_MAX": (_reduce_max, (schema.ReducerOptions,)),
    "STRIDED_SLICE": (_strided_slice, (schema.StridedSliceOptions,)),
}
# The schema's BuiltinOperator: the operators that our bundles are made of, by their number.
_OPERATORS: dict[int, str] = {
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
    73: "LOG",
    76: "RSQRT",
    82: "REDUCE_MAX",
    111: "ELU",
    114: "QUANTIZE",
    126: "BATCH_MATMUL",
    150: "GELU",
}
INTEGER = Rules(
    what="bundle",
    operators=_OPERATORS,
    rules=_RULES,
    types=frozenset({INT8, INT32}),
    computed=frozenset({INT8}),
    enters=INT8,
    leaves=INT8,
    node=Node,
    made=_made_int8,
)
