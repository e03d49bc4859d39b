"""Attention without SOFTMAX: probabilities in two int8 terms, relative to the largest score of their row.

SOFTMAX's one grid of 1/256 is the largest error of a network of many tokens. With s a row of scores,

    d = s - max s,   S = sum exp d,   L = log S,   p = exp(d - L)
    low = min(p, 1/9) on its fine grid,   high = p - low on a coarse one,   mixed = low V + high V

REDUCE_MAX and SUB are exact. The sum is one layer of constant rows: it gives S, S / b and S / b^2, each cut at b by its own grid,
and the grid of their logarithms cuts each at 1 from below, so that their sum is L (`calibration/probabilities.py` has the grids). EXP's
grids do the rest of the cutting: the one of low ends at 1/9. Both products lie on mixed's grid, so their sum is exact.

Applied to the integer file, after the quantizer; fires where calibration gave a block these grids.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.probabilities import FACTORS, in_two_terms, shares
from calibration.ranges import kind
from convert.passes.integer_editing import IntegerEditor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import operator_name, prune


def apply(state: GraphState) -> GraphState:
    """Every block with the grids for it takes its probabilities in two terms."""
    model, fired = state.model, 0
    for graph in model.subgraphs:
        edit = _Attention(model, graph, state.roles, state.grids)
        for operator in graph.operators:
            fired += edit.operator(operator)
        edit.finish()
    if fired:
        prune(model)
    return replace(state, fired=fired)


class _Attention(IntegerEditor):
    """One subgraph; `terms` holds low and high for the tensors that SOFTMAX gave."""

    def __init__(self, model: Any, graph: Any, roles: dict[str, str], grids: dict[str, Any]) -> None:
        super().__init__(model, graph, roles, grids)
        self.terms: dict[int, tuple[int, int]] = {}

    def operator(self, operator: Any) -> bool:
        """Whether the operator was a SOFTMAX that is gone now."""
        name, output = operator_name(self.model, operator), int(operator.outputs[0])
        block = self.role(output).rpartition("/")[0]
        if name == "SOFTMAX" and in_two_terms(self.grids, block):
            self.terms[output] = self._probabilities(int(operator.inputs[0]), block)
            return True
        inputs = [int(i) for i in operator.inputs]
        if inputs and inputs[0] in self.terms and name == "BATCH_MATMUL" and kind(self.role(output)) == "mixed":
            parts = []
            for term, which in zip(self.terms[inputs[0]], ("low", "high"), strict=True):
                parts.append(self.again(operator, [term, inputs[1]], self._as(block, f"mixed_{which}", output)))
            self.add("ADD", parts, output)
            return False
        self.emit(operator)
        return False

    def _probabilities(self, scores: int, block: str) -> tuple[int, int]:
        """Low and high."""
        tokens = int(self.graph.tensors[scores].shape[-1])
        axis = self.constant("last_axis", np.array([len(self.graph.tensors[scores].shape) - 1], np.int32))
        largest = self._as(block, "row_largest", scores, 1)
        # To the last bit, which a quantizer may have rounded otherwise: LiteRT's plain kernels refuse a maximum off its input's grid.
        self.graph.tensors[largest].quantization = copy.copy(self.graph.tensors[scores].quantization)
        self.single("REDUCE_MAX", [scores, axis], largest, keepDims=True)
        below = self.add("SUB", [scores, largest], self._as(block, "below_largest", scores))
        exponential = self.single("EXP", [below], self._as(block, "exponential", scores))
        ones = self.rows(f"{block}/sum_factors/weight", shares(tokens), tokens)
        factors = self._layer(exponential, ones, self._as(block, "sum_factors", scores, FACTORS))
        logarithms = self.single("LOG", [factors], self._as(block, "log_factors", scores, FACTORS))
        adding = self.rows(f"{block}/log_sum/weight", np.ones(1), FACTORS)
        total = self._layer(logarithms, adding, self._as(block, "log_sum", scores, 1))
        logarithm = self.add("SUB", [below, total], self._as(block, "log_probability", scores))
        low = self.single("EXP", [logarithm], self._as(block, "probability_low", scores))
        whole = self.single("EXP", [logarithm], self._as(block, "probability", scores))
        return low, self.add("SUB", [whole, low], self._as(block, "probability_high", scores))

    def _layer(self, reads: int, weights: int, output: int) -> int:
        return self.single("FULLY_CONNECTED", [reads, weights, -1], output, keepNumDims=True)

    def _as(self, block: str, name: str, like: int, last: int | None = None) -> int:
        role = f"{block}/{name}"
        return self.made(role, like, self.grids[role], last)
