"""Which operators XNNPACK takes, and into how many pieces those that it leaves cut a subgraph.

A cut by itself costs next to nothing; what is left runs on LiteRT's plain kernels, and those cost. Whether an operator is taken depends
on its name, its types, and how far the scales of its tensors lie apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from convert.support.quiet import quiet
from convert.tflite.flatbuffer import TYPE_NAMES, operator_name, read_model
from convert.tflite.merge import single

# What XNNPACK takes in int8, measured on LiteRT 2.3.0; of BATCH_MATMUL those whose right operand has zero point 0.
TAKEN = frozenset(
    {
        "ADD",
        "BATCH_MATMUL",
        "CONCATENATION",
        "CONV_2D",
        "ELU",
        "FULLY_CONNECTED",
        "LEAKY_RELU",
        "LOGISTIC",
        "MEAN",
        "MUL",
        "QUANTIZE",
        "REDUCE_MAX",
        "RESHAPE",
        "SLICE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
    }
)


@dataclass(frozen=True, slots=True)
class Limit:
    """What the ratio of an input's scale, or of the product of both inputs' scales, to the output's may be: `least` <= ratio < `beyond`."""

    product: bool
    least: float
    beyond: float


_SUM = Limit(False, 2**-10, 2**8)
# An operator beyond these is left to plain kernels. LiteRT's xnnpack_delegate.cc (CheckTensorsInputOutputScale and the one for products);
# QUANTIZE is measured on LiteRT 2.3.0, with 2^7 itself taken. MEAN has no limit, LOGISTIC knows every grid.
LEFT_BEYOND = {
    "ADD": _SUM,
    "SUB": _SUM,
    "MUL": Limit(True, 2**-16, 2**8),
    "QUANTIZE": Limit(False, 2**-8, float(np.nextafter(np.float32(2**7), np.float32(np.inf)))),
}
# With one beyond these XNNPACK takes the operator and then fails, and the file does not start. XNNPACK's fully-connected-nc.c and
# convolution-nhwc.c; its batch-matrix-multiply-nc.c has 255, which LiteRT 2.3.0 does not check yet.
FAILS_BEYOND = {
    "FULLY_CONNECTED": Limit(True, 0.0, 2**8),
    "CONV_2D": Limit(True, 0.0, 2**8),
    "BATCH_MATMUL": Limit(True, 0.0, 255.0),
}
# These fail as well unless their outputs lie on their inputs' grid: XNNPACK's validation.c, and LiteRT's reduce.cc.
ON_ONE_GRID = {"CONCATENATION", "REDUCE_MAX", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE"}


@dataclass(frozen=True, slots=True)
class Islands:
    """`pieces`: parts of the subgraph that XNNPACK gets; `left`: how many operators of each name run on plain kernels."""

    pieces: int
    left: dict[str, int]


def expected(model: Any, graph: Any) -> Islands:
    """The islands by the rules above: LiteRT fills a part with all operators of one kind (taken or left) whose inputs are there."""
    taken = [_takes(model, graph, operator) for operator in graph.operators]
    makers = {int(output): number for number, operator in enumerate(graph.operators) for output in operator.outputs}
    needs = [{makers[int(i)] for i in operator.inputs if int(i) in makers} for operator in graph.operators]
    done: set[int] = set()
    waiting, pieces = list(range(len(taken))), 0
    while waiting:
        kind = taken[next(number for number in waiting if needs[number] <= done)]
        pieces += kind
        for number in waiting:  # in the order of execution, in which every operator stands behind those that it needs
            if taken[number] == kind and needs[number] <= done:
                done.add(number)
        waiting = [number for number in waiting if number not in done]
    left = Counter(operator_name(model, operator) for operator, mine in zip(graph.operators, taken, strict=True) if not mine)
    return Islands(pieces, dict(left.most_common()))


def measured(content: bytes, key: str) -> Islands:
    """The islands of a signature as LiteRT made them on this machine. `content` is run: pass only a file that was checked."""
    alone = single(content, key)
    with quiet():
        interpreter = Interpreter(model_content=alone)
        interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    model = read_model(alone)
    (graph,) = model.subgraphs
    makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    inside: set[int] = set()  # tensors that are made within a delegate
    for delegate in delegates:
        given, asked = {int(i) for i in delegate["inputs"]}, [int(i) for i in delegate["outputs"]]
        while asked:
            tensor = asked.pop()
            if tensor in makers and tensor not in inside | given:
                inside.add(tensor)
                asked += [int(i) for i in makers[tensor].inputs]
    left = Counter(operator_name(model, o) for o in graph.operators if int(o.outputs[0]) not in inside)
    return Islands(len(delegates), dict(left.most_common()))


def left_by_scale(model: Any, graph: Any, operator: Any) -> float | None:
    """The ratio of scales for which XNNPACK leaves an operator that it takes otherwise, None for all others."""
    limit = LEFT_BEYOND.get(operator_name(model, operator))
    return _outside(graph, operator, limit) if limit and _known(model, graph, operator) else None


def fault(model: Any, graph: Any, operator: Any) -> str | None:
    """Why a file with this operator does not start, None where it does."""
    name = operator_name(model, operator)
    if not _known(model, graph, operator):
        return None
    if limit := FAILS_BEYOND.get(name):
        ratio = _outside(graph, operator, limit)
        return (
            None
            if ratio is None
            else f"its scales' product is {ratio:.4g} times its output's, expected less than {limit.beyond:g}"
        )
    grids = [graph.tensors[int(i)].quantization for i in (*operator.outputs, *operator.inputs) if _is_int8(graph, int(i))]
    if name in ON_ONE_GRID and len({(np.float32(grid.scale[0]), int(grid.zeroPoint[0])) for grid in grids}) > 1:
        return "its input and output lie on different grids, expected one"
    return None


def _outside(graph: Any, operator: Any, limit: Limit) -> float | None:
    """The ratio that is furthest outside the limit, None where all are within."""
    scales = [np.asarray(graph.tensors[int(i)].quantization.scale, np.float32) for i in (*operator.inputs[:2], *operator.outputs)]
    left, right, output = scales[0], scales[-2], scales[-1]
    ratios = left * right / output if limit.product else np.concatenate([left, right]) / output
    outside = ratios[(ratios < limit.least) | (ratios >= limit.beyond)]
    return float(outside[np.argmax(np.abs(np.log(outside)))]) if outside.size else None


def _takes(model: Any, graph: Any, operator: Any) -> bool:
    return _known(model, graph, operator) and left_by_scale(model, graph, operator) is None


def _known(model: Any, graph: Any, operator: Any) -> bool:
    """Whether XNNPACK has a kernel for such an operator, whatever its scales."""
    name = operator_name(model, operator)
    if name not in TAKEN or not all(_is_int8(graph, int(i)) for i in (operator.inputs[0], operator.outputs[0])):
        return False
    if name == "BATCH_MATMUL":
        return int(graph.tensors[operator.inputs[1]].quantization.zeroPoint[0]) == 0
    return True


def _is_int8(graph: Any, index: int) -> bool:
    return index >= 0 and TYPE_NAMES[graph.tensors[index].type] == "INT8"
