"""A token's squared length is the product of one tensor with itself: [T, 1, D] as both operands, the right one read as it lies (adj_y).

The converter multiplies the stream, [T, 1, D], by a reshaped [T, D, 1], which holds the same numbers in the same order. One reshape less,
and less than half the time in LiteRT's plain kernel (measured: 4.4 us against 10.2 for 26 tokens of width 384).
"""

from __future__ import annotations

from dataclasses import replace

from convert.passes.editing import Editor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import squares


def apply(state: GraphState) -> GraphState:
    """Every product that gives squared lengths takes one tensor twice.

    It is told by its operands: of a single token the length has one value, and its role may be that of the same value a step later.
    """
    model, fired = state.model, 0
    for graph in model.subgraphs:
        edit = Editor(model, graph, state.roles)
        for operator in graph.operators:
            if squares(model, graph, operator):
                left = int(operator.inputs[0])
                operator.inputs = [left, left]
                operator.builtinOptions.adjY = True
                fired += 1
            edit.emit(operator)
        edit.finish()
    return replace(state, fired=fired)
