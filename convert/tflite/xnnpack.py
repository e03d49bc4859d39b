"""Which operators XNNPACK takes, and into how many pieces those that it leaves cut a subgraph.

A cut by itself costs next to nothing; what is left runs on LiteRT's plain kernels, and those cost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

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


def _takes(model: Any, graph: Any, operator: Any) -> bool:
    name = operator_name(model, operator)
    computed = [graph.tensors[int(operator.inputs[0])], graph.tensors[int(operator.outputs[0])]]
    if name not in TAKEN or any(TYPE_NAMES[tensor.type] != "INT8" for tensor in computed):
        return False
    if name == "BATCH_MATMUL":
        return int(graph.tensors[operator.inputs[1]].quantization.zeroPoint[0]) == 0
    return True
