"""GELU of LOGISTIC, MUL and ADD, for TensorFlow Lite Micro, which has no GELU.

Applied to the integer file, after the quantizer, so that it can be taken back (`undone`) and its cost measured on one and the same file.
Two forms, both with int8 tensors throughout:

    sigmoid:  x sigmoid(1.702 x)                      three operators, in float off by at most 0.021
    cubic:    x sigmoid(x (1.5958 + 0.0714 x^2))      six operators, in float off by at most 0.0005

x^2 is clipped where the sigmoid's last code is reached, so a layer with a wide range loses nothing near zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid, never_negative
from convert.passes.integer_editing import IntegerEditor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import operator_name, prune, read_model, text, write_model

FORMS = ("sigmoid", "cubic")
CHOSEN = "cubic"
WITHOUT_GELU = frozenset({"tflm"})
SLOPE = 1.702
LINEAR, CUBE = 2 * (2 / np.pi) ** 0.5, 2 * 0.044715 * (2 / np.pi) ** 0.5  # tanh's form, written with a sigmoid
LAST = 6.25  # beyond, the sigmoid's 256 codes do not change any more
LARGEST_SQUARE = 8.5  # there LINEAR + CUBE x^2 has carried x past LAST
GATE = re.compile(r"(block|head)_\d+/gelu_gate;\d+")


def apply(state: GraphState) -> GraphState:
    """The file without GELU where its runtime has none; new tensors have roles and grids of their own."""
    return formed(state, CHOSEN) if state.runtime in WITHOUT_GELU else replace(state, fired=0)


def formed(state: GraphState, form: str) -> GraphState:
    """The file with every GELU in that form, whatever will run it."""
    model, fired = state.model, 0
    for graph in model.subgraphs:
        edit = _Integer(model, graph, state.roles, state.grids)
        for operator in graph.operators:
            if operator_name(model, operator) == "GELU":
                edit.formed(int(operator.inputs[0]), int(operator.outputs[0]), form)
                fired += 1
            else:
                edit.emit(operator)
        edit.finish()
    prune(model)
    return replace(state, fired=fired)


def undone(content: bytes) -> bytes | None:
    """The file with GELU as one operator again, None where `apply` changed nothing."""
    model, found = read_model(content), False
    for graph in model.subgraphs:
        edit = _Integer(model, graph, {}, {})
        for operator in graph.operators:
            names = [text(graph.tensors[int(index)].name) for index in operator.inputs if index >= 0]
            if operator_name(model, operator) == "MUL" and any(GATE.fullmatch(name) for name in names):
                edit.single("GELU", [int(operator.inputs[0])], int(operator.outputs[0]))
                found = True
            else:
                edit.emit(operator)
        edit.finish()
    prune(model)
    return write_model(model) if found else None


class _Integer(IntegerEditor):
    """One subgraph whose GELU takes another form."""

    def formed(self, x: int, output: int, form: str) -> None:
        """`output` = GELU(x) in that form; the last product's operands are x and the sigmoid, in this order."""
        grid = self.graph.tensors[x].quantization
        scale, zero_point = float(grid.scale[0]), int(grid.zeroPoint[0])
        role = self.role(output)
        if form == "sigmoid":
            # Its codes are those of x: the step is multiplied, not the numbers.
            slope = self.made(f"{role}_slope", x, Grid(float(np.float32(scale * SLOPE)), zero_point))
            self.add("MUL", [x, self.number(f"{role}_slope_factor", SLOPE)], slope)
        else:
            slope = self._cubic(x, role, scale, zero_point)
        gate = self.single("LOGISTIC", [slope], self.made(f"{role}_gate", x, Grid(1 / 256, -128)))
        self.add("MUL", [x, gate], output)

    def _cubic(self, x: int, role: str, scale: float, zero_point: int) -> int:
        """x (LINEAR + CUBE x^2)."""
        end = min((scale * max(127 - zero_point, 128 + zero_point)) ** 2, LARGEST_SQUARE)
        factor = LINEAR + CUBE * end
        square = self.made(f"{role}_square", x, never_negative(end))
        cube = self.made(f"{role}_cube", x, never_negative(CUBE * end))
        both = self.made(f"{role}_factor", x, never_negative(factor))
        slope = self.made(f"{role}_slope", x, Grid(float(np.float32(LAST / 127)), 0))
        self.add("MUL", [x, x], square)
        self.add("MUL", [square, self.number(f"{role}_cube_factor", CUBE)], cube)
        self.add("ADD", [cube, self.number(f"{role}_linear_factor", LINEAR)], both)
        return self.add("MUL", [x, both], slope)


def largest_error(form: str, x: NDArray[np.float64]) -> float:
    """How far the form is off GELU in float, over `x`."""
    from scipy.special import erf, expit

    inner: Mapping[str, NDArray[np.float64]] = {"sigmoid": SLOPE * x, "cubic": x * (LINEAR + CUBE * x * x)}
    return float(np.abs(x * expit(inner[form]) - x * (1 + erf(x / 2**0.5)) / 2).max())
