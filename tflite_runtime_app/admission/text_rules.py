"""What a text tower's file may be made of: token ids in, float32 throughout, weights in float32, float16 or int8 (`convert text`).

A row of a table is looked up by a number that was computed, and LiteRT's kernel need not look whether there is such a row. So it is
followed here what every index stays below: ids below the vocabulary, the place of the largest id below the length of the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

from tflite_runtime_app.admission import flatbuffer_schema as schema
from tflite_runtime_app.admission.flatbuffer_schema import FLOAT16, FLOAT32, INT8, INT32
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


@dataclass(frozen=True, slots=True, eq=False)
class FloatNode(Node):
    """One operator of a text tower, whose activations are float32."""

    def activation(self, number: int) -> Operand:
        """Input `number`: float32, constant or computed."""
        operand = self.input(number)
        require(operand.type == FLOAT32, f"input {number} should be float32")
        return operand

    def indices(self, number: int, rows: int) -> Operand:
        """Input `number`: computed int32, each known to be from 0 to rows - 1."""
        operand = self.input(number)
        require(operand.type == INT32 and operand.values is None, f"input {number} should be computed indices")
        require(operand.below is not None and operand.below <= rows, f"indices below {operand.below} go into {rows} rows")
        return operand


def text_rules(vocabulary: int) -> Rules:
    """The rules of a text tower whose token ids lie below `vocabulary`."""
    return Rules(
        what="text tower",
        operators=_OPERATORS,
        rules=_RULES,
        types=frozenset({FLOAT32, FLOAT16, INT32, INT8}),
        computed=frozenset({FLOAT32, FLOAT16, INT32}),
        enters=INT32,
        leaves=FLOAT32,
        node=FloatNode,
        made=_made,
        below=_below,
        ids=vocabulary,
    )


def _made(name: str, node: Node) -> None:
    """Each operator's output is of the one type that it makes."""
    expected = {"ARG_MAX": INT32}.get(name, FLOAT32)
    if name in ("RESHAPE", "GATHER"):
        expected = node.input(0).type
    require(node.output.type == expected, f"the output should have type {expected}, has {node.output.type}")


def _below(name: str, node: Node) -> int | None:
    if name == "RESHAPE":
        return node.input(0).below
    if name == "ARG_MAX":
        return node.input(0).shape[node.numbers(1)[0]]
    return None


def _reshape(node: Node) -> Shape:
    given = node.input(0)
    require(given.type in (FLOAT32, INT32), "input 0 should be float32 or int32")
    return reshaped(node, given.shape)


def _gather(node: Node) -> Shape:
    node.count(2, 2)
    table = node.input(0)
    require(table.type in (FLOAT32, FLOAT16) and len(table.shape) == 2, "input 0 should be a table of float32 or float16")
    require(node.options.axis == 0 and node.options.batch_dims == 0, "rows should be gathered, nothing else")
    return _rows(node, 1, table.shape)


def _embedding_lookup(node: Node) -> Shape:
    node.count(2, 2)
    table = node.input(1)
    fits = table.type == INT8 and table.values is not None and len(table.shape) == 2
    require(fits, "input 1 should be a constant int8 table with a scale for each row")
    return _rows(node, 0, table.shape)


def _rows(node: Node, number: int, table: Shape) -> Shape:
    """The rows of `table` that the list at input `number` names."""
    assert isinstance(node, FloatNode)
    places = node.indices(number, table[0]).shape
    require(len(places) == 1, f"indices should be a list, have shape {places}")
    return (*places, table[1])


def _dequantize(node: Node) -> Shape:
    node.count(1, 1)
    given = node.input(0)
    require(given.type == FLOAT16, "input 0 should be float16")
    return given.shape


def _arg_max(node: Node) -> Shape:
    node.count(2, 2)
    given, axes = node.input(0), node.numbers(1)
    require(given.type == INT32 and given.below is not None, "input 0 should be token ids")
    rank = len(given.shape)
    require(node.options.output_type == INT32, f"the output should be int32, found type {node.options.output_type}")
    require(len(axes) == 1 and 0 <= axes[0] < rank, f"axis {axes} is none of {rank}")
    return given.shape[: axes[0]] + given.shape[axes[0] + 1 :]


def _fully_connected(node: Node) -> Shape:
    node.count(2, 3)
    options, rows, weights = node.options, node.activation(0), node.input(1)
    plain = not (options.weights_format or options.asymmetric_quantize_inputs or options.quantized_bias_type)
    require(plain and not options.keep_num_dims, "weights should be a plain matrix")
    fits = len(weights.shape) == 2 and (weights.type == FLOAT32 or (weights.type == INT8 and weights.values is not None))
    require(fits, "weights should be a matrix of float32, or a constant one of int8")
    outputs, width = weights.shape
    bias = node.inputs[2] if len(node.inputs) == 3 else None
    valid = bias is None or (bias.type == FLOAT32 and bias.values is not None and bias.shape == (outputs,))
    require(valid, f"biases should be {outputs} constant float32")
    require(len(rows.shape) == 2 and rows.shape[1] == width, f"rows of shape {rows.shape} do not fit weights of width {width}")
    return rows.shape[0], outputs


_RULES: dict[str, tuple[Rule, Kinds]] = {
    "ADD": (elementwise, (schema.AddOptions,)),
    "SUB": (elementwise, (schema.SubOptions,)),
    "MUL": (elementwise, (schema.MulOptions,)),
    "GELU": (unary, (schema.GeluOptions,)),
    "LOGISTIC": (unary, (NONE,)),
    "RSQRT": (unary, (NONE,)),
    "SOFTMAX": (softmax, (schema.SoftmaxOptions,)),
    "MEAN": (reduced, (schema.ReducerOptions,)),
    "TRANSPOSE": (transpose, (NONE, schema.TransposeOptions)),
    "BATCH_MATMUL": (batch_matmul, (schema.BatchMatMulOptions,)),
    "FULLY_CONNECTED": (_fully_connected, (schema.FullyConnectedOptions,)),
    "RESHAPE": (_reshape, (NONE, schema.ReshapeOptions)),
    "GATHER": (_gather, (schema.GatherOptions,)),
    "EMBEDDING_LOOKUP": (_embedding_lookup, (NONE,)),
    "DEQUANTIZE": (_dequantize, (NONE, schema.DequantizeOptions)),
    "ARG_MAX": (_arg_max, (schema.ArgMaxOptions,)),
}
# The schema's BuiltinOperator: the operators that text towers are made of, by their number.
_OPERATORS: dict[int, str] = {
    0: "ADD",
    6: "DEQUANTIZE",
    7: "EMBEDDING_LOOKUP",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    18: "MUL",
    22: "RESHAPE",
    25: "SOFTMAX",
    36: "GATHER",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    56: "ARG_MAX",
    76: "RSQRT",
    126: "BATCH_MATMUL",
    150: "GELU",
}
