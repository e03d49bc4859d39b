"""The residual stream as two int8 tensors, hi + lo, added with compensation: about twelve bits without a single int16.

One int8 tensor loses half a step at every one of the tower's 2 L sums, and the losses add up. Here every sum h + b becomes

    hi' = hi + b,    t = hi' - hi,    d = b - t,    lo' = lo + d

(Kahan's compensated summation, 1965). hi' is rounded to its step; t is what was really added, exact when the steps are powers of two and
so nest; d is what the rounding lost, and lo, with steps of a twentieth, collects it. In float d is zero and the network unchanged.
Readers take z = int8(hi + lo): norms, for their statistics and for what they put out, and exits. A norm that has a grid for it puts out
hi r + lo r instead of z r (`calibration/two_term.py` says which). Handed over are hi and lo.
Positions and class token are constants on hi's grid and bring a lo of their own: what that rounding loses. Patches that enter as they are
come in two terms too, fine + rest: the rest is added to the constant, which is exact, and the sum takes the fine term.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid, on_grid
from calibration.two_term import PATCH, PATCH_COARSE, PATCH_REST, STREAM
from convert.passes.editing import Editor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import constant, operator_name, schema

MOVES = frozenset({"RESHAPE", "STRIDED_SLICE"})


def apply(state: GraphState) -> GraphState:
    """Every stage carries hi and lo, and hands over `hidden` and `hidden_lo`; the constants that it splits get grids of their own.

    Fires on a state whose stream is two_term, once for every sum.
    """
    if state.stream != "two_term":
        return replace(state, fired=0)
    model, fired = state.model, 0
    for definition in model.signatureDefs:
        stage = _Stage(model, model.subgraphs[definition.subgraphIndex], definition, state.roles, state.grids)
        stage.rewrite()
        fired += stage.sums
    return replace(state, fired=fired)


class _Stage:
    """One subgraph under rewriting; `lo` and `z` hold the partners of stream tensors."""

    def __init__(self, model: Any, graph: Any, definition: Any, roles: dict[str, str], grids: dict[str, Grid]) -> None:
        self.model, self.graph, self.definition, self.grids = model, graph, definition, grids
        self.edit = Editor(model, graph, roles)
        self.lo: dict[int, int] = {}
        self.z: dict[int, int] = {}
        self.sums = 0

    def rewrite(self) -> None:
        for entry in list(self.definition.inputs):
            if entry.name == b"hidden":
                index = int(entry.tensorIndex)
                self.lo[index] = self._partner(index, "lo")
                self.graph.inputs = [*(int(i) for i in self.graph.inputs), self.lo[index]]
                self.definition.inputs.append(_entry("hidden_lo", self.lo[index]))
        for operator in self.graph.operators:
            self._operator(operator)
        for entry in list(self.definition.outputs):
            if entry.name == b"hidden":
                lo = self.lo[int(entry.tensorIndex)]
                self.graph.outputs = [*(int(i) for i in self.graph.outputs), lo]
                self.definition.outputs.append(_entry("hidden_lo", lo))
        self.edit.finish()

    def _operator(self, operator: Any) -> None:
        name = operator_name(self.model, operator)
        inputs, output = [int(i) for i in operator.inputs], int(operator.outputs[0])
        stream = [i for i in inputs if self._is_stream(i)]
        if name == "ADD" and self._is_stream(output):
            self._sum(operator, inputs, output)
        elif name == "CONCATENATION" and self._is_stream(output):
            self._join(operator, inputs, output)
        elif not stream:
            self.edit.emit(operator)
        elif name in MOVES:
            self.edit.emit(operator)
            if inputs[0] in self.lo:
                self.lo[output] = self.edit.again(operator, [self.lo[inputs[0]], *inputs[1:]], self._partner(output, "lo"))
        elif name == "MUL" and f"{self.edit.role(output)}_lo" in self.grids:
            self._normed(operator, inputs, output)
        else:
            operator.inputs = [self._whole(i) if i in self.lo else i for i in inputs]
            self.edit.emit(operator)

    def _sum(self, operator: Any, inputs: list[int], output: int) -> None:
        """hi' = hi + b, t = hi' - hi, d = b - t, lo' = lo + d. The first sum adds a constant, the positions: there the constant is hi."""
        edit = self.edit
        self.sums += 1
        hi, branch = inputs if self._is_stream(inputs[0]) else inputs[::-1]
        if not self._is_stream(hi):
            hi, branch = inputs if constant(self.model, self.graph.tensors[inputs[0]]) is not None else inputs[::-1]
        values, lo = constant(self.model, self.graph.tensors[hi]), self.lo.get(hi)
        if values is not None:
            hi, lo = self._split(edit.role(output), values)
            hi = self._with_rest(hi, branch, output)
        edit.again(operator, [hi, branch], output)
        step = edit.add("SUB", [output, hi], self._partner(output, "step"))
        if lo is None:
            self.lo[output] = edit.add("SUB", [branch, step], self._partner(output, "lo"))
            return
        rest = edit.add("SUB", [branch, step], self._partner(output, "rest"))
        self.lo[output] = edit.add("ADD", [rest, lo], self._partner(output, "lo"))

    def _with_rest(self, hi: int, branch: int, output: int) -> int:
        """The constant, and what the patches' fine grid cuts off: the layer's result on a grid that holds everything, less the fine one."""
        edit = self.edit
        moves = []
        made = self._maker(branch)
        while made is not None and operator_name(self.model, made) == "RESHAPE":
            moves.append(made)
            made = self._maker(int(made.inputs[0]))
        if made is None or edit.role(int(made.outputs[0])) != PATCH or PATCH_COARSE not in self.grids:
            return hi
        fine = int(made.outputs[0])
        coarse = edit.again(made, [int(i) for i in made.inputs], edit.tensor(PATCH_COARSE, fine))
        rest = edit.add("SUB", [coarse, fine], edit.tensor(PATCH_REST, fine))
        for move in reversed(moves):
            like = int(move.outputs[0])
            rest = edit.again(move, [rest, *(int(i) for i in move.inputs[1:])], edit.tensor(PATCH_REST, like))
        name = f"{edit.role(output)}/constant_rest"
        self.grids[name] = self.grids[edit.role(output)]
        return edit.add("ADD", [hi, rest], edit.tensor(name, output))

    def _maker(self, tensor: int) -> Any:
        """The operator that gives the tensor, None for a constant or an input."""
        return next((operator for operator in self.edit.operators if int(operator.outputs[0]) == tensor), None)

    def _join(self, operator: Any, inputs: list[int], output: int) -> None:
        """The class token, a constant, gets a lo: what its rounding to hi's grid loses. It is joined to the patches' lo."""
        token = next(i for i in inputs if constant(self.model, self.graph.tensors[i]) is not None)
        patches = next(i for i in inputs if i != token)
        values = constant(self.model, self.graph.tensors[token])
        if values is None or patches not in self.lo:
            self.edit.emit(operator)
            return
        role = self.edit.role(output)
        hi, lo = self._split(role, values)
        self.edit.again(operator, [hi if i == token else i for i in inputs], output)
        joined = [lo if i == token else self.lo[patches] for i in inputs]
        self.lo[output] = self.edit.again(operator, joined, self._partner(output, "lo"))

    def _split(self, role: str, values: NDArray[np.float32]) -> tuple[int, int]:
        """Two constants that add up to `values`: one on the grid of the sum `role`, so that the sums nest, and what that rounding loses."""
        coarse, made = on_grid(values, self.grids[role]), []
        for part, content in (("", coarse), ("_lo", values - coarse)):
            name = f"{role}/constant{part}"
            self.grids[name] = self.grids[role + part]
            made.append(self.edit.constant(name, content, role=name))
        return made[0], made[1]

    def _normed(self, operator: Any, inputs: list[int], output: int) -> None:
        """hi r + lo r."""
        (hi,) = (i for i in inputs if i in self.lo)
        parts = []
        for term, part in ((hi, "hi"), (self.lo[hi], "lo")):
            parts.append(self.edit.again(operator, [term if i == hi else i for i in inputs], self._partner(output, part)))
        self.edit.add("ADD", parts, output)

    def _whole(self, hi: int) -> int:
        """z = hi + lo in one int8 tensor."""
        if hi not in self.z:
            self.z[hi] = self.edit.add("ADD", [hi, self.lo[hi]], self._partner(hi, "whole"))
        return self.z[hi]

    def _partner(self, hi: int, part: str) -> int:
        return self.edit.tensor(f"{self.edit.role(hi)}_{part}", hi)

    def _is_stream(self, index: int) -> bool:
        return STREAM.fullmatch(self.edit.role(index)) is not None


def _entry(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry
