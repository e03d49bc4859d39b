"""Attention without SOFTMAX: probabilities in two int8 terms, relative to the largest score of their row.

SOFTMAX's one grid of 1/256 is the largest error of a network of many tokens. With s a row of scores,

    d = s - max s,   S = sum exp d,   L = log S,   p = exp(d - L)
    low = min(p, 1/15) on a fine grid,   high = max(p, 1/15) - 1/15 on a coarse one,   mixed = low V + high V

REDUCE_MAX and SUB are exact. The sum is one layer of constant rows: it gives S, S / b and S / b^2, each cut at b by its own grid,
and the grid of their logarithms cuts each at 1 from below, so that their sum is L (`calibration/probabilities.py` has the grids).
EXP is ELU, which below zero is exp - 1: LiteRT hands it to XNNPACK, whose tables take a third of the time of EXP's (39 and 12 us for
[3, 197, 197]). The sum's bias and an ADD put the one back; codes stay what they are. Low is made 15 times as large, from d - L + log 15
cut at 0, and meets V / 15; high is made from d - L cut at -log 15. Both products lie on mixed's grid, so their sum is exact.

Applied to the integer file, after the quantizer; fires where calibration gave a block these grids.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.probabilities import FACTORS, RATIO, in_two_terms, shares
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
            low, high = self.terms[inputs[0]]
            share = self._as(block, "value_share", inputs[1])
            share = self.add("MUL", [inputs[1], self.number(f"{block}/share", 1 / RATIO)], share)
            parts = [
                self.again(operator, [low, share], self._as(block, "mixed_low", output)),
                self.again(operator, [high, inputs[1]], self._as(block, "mixed_high", output)),
            ]
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
        exponential = self.single("ELU", [below], self._as(block, "exponential", scores))
        ones = self.rows(f"{block}/sum_factors/weight", shares(tokens), tokens)
        # The ones that ELU takes off, in steps of input times weight: 255 of the input make 1, 127 of the weight make the share.
        off = self.bias(f"{block}/sum_factors/bias", np.full(FACTORS, 255 * 127 * tokens, np.int32), exponential, ones)
        factors = self._layer([exponential, ones, off], self._as(block, "sum_factors", scores, FACTORS))
        logarithms = self.single("LOG", [factors], self._as(block, "log_factors", scores, FACTORS))
        adding = self.rows(f"{block}/log_sum/weight", np.ones(1), FACTORS)
        total = self._layer([logarithms, adding, -1], self._as(block, "log_sum", scores, 1))
        ratio = self.number(f"{block}/log_ratio", math.log(RATIO))
        total_low = self.add("SUB", [total, ratio], self._as(block, "log_sum_low", total))
        return self._term("low", below, total_low, 1.0), self._term("high", below, total, 1 - 1 / RATIO)

    def _term(self, which: str, below: int, total: int, back: float) -> int:
        """exp(below - total) - 1 + back, cut by its grids."""
        block = self.role(below).rpartition("/")[0]
        logarithm = self.add("SUB", [below, total], self._as(block, f"log_{which}", below))
        less_one = self.single("ELU", [logarithm], self._as(block, f"less_one_{which}", below))
        one = self.number(f"{block}/back_{which}", back)
        return self.add("ADD", [less_one, one], self._as(block, f"probability_{which}", below))

    def _layer(self, inputs: list[int], output: int) -> int:
        return self.single("FULLY_CONNECTED", inputs, output, keepNumDims=True)

    def _as(self, block: str, name: str, like: int, last: int | None = None) -> int:
        role = f"{block}/{name}"
        return self.made(role, like, self.grids[role], last)
