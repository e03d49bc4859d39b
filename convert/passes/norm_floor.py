"""Norms take the larger of the variance and one step of its grid, where the model's epsilon is smaller than that step.

RSQRT fails at run time on a value at or below zero, and a variance under half a step is rounded to zero. An epsilon below half a step does
nothing in int8; adding a whole step instead would bias every flat patch (on a model of 12 blocks it doubled the embedding's error). So
variance + eps becomes max(variance, step), which changes no variance that int8 can tell from zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.ranges import kind
from convert.passes.editing import Editor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import constant, operator_name


def apply(state: GraphState) -> GraphState:
    """Every norm's RSQRT gets at least one step of its grid."""
    model, grids, fired = state.model, state.grids, 0
    for graph in model.subgraphs:
        edit = Editor(model, graph, state.roles)
        for operator in list(graph.operators):
            role = edit.role(int(operator.outputs[0]))
            if kind(role) not in ("variance_eps", "energy_eps", "energy_fine_eps") or operator_name(model, operator) != "ADD":
                edit.emit(operator)
                continue
            variance, epsilon = (int(i) for i in operator.inputs)
            if constant(model, graph.tensors[variance]) is not None:
                variance, epsilon = epsilon, variance
            value = constant(model, graph.tensors[epsilon])
            grid = grids[edit.role(variance)]
            if value is None or float(value.max()) >= grid.scale:
                edit.emit(operator)  # the model's own epsilon is a step or more
                continue
            grids[role] = grids[f"{role}/floor"] = grid
            shape = (1,) * len(graph.tensors[variance].shape)
            floor = edit.constant(f"{role}/floor", np.full(shape, grid.scale, np.float32), role=f"{role}/floor")
            edit.add("MAXIMUM", [variance, floor], int(operator.outputs[0]))
            fired += 1
        edit.finish()
    return replace(state, fired=fired)
