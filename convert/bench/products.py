"""The matrix products that a file's stages are made of, read off its flatbuffer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from convert.tflite.flatbuffer import operator_name, read_model, signatures, squares


@dataclass(frozen=True, slots=True)
class Linear:
    """[rows, depth] times a constant [columns, depth]: a fully connected layer, or a convolution as one over its patches."""

    rows: int
    depth: int
    columns: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.depth * self.columns


@dataclass(frozen=True, slots=True)
class Attention:
    """A batched product of two computed tensors; `transpose_*` say which operand enters with its last two axes swapped."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    result: tuple[int, ...]
    transpose_left: bool
    transpose_right: bool

    @property
    def depth(self) -> int:
        """How many products each sum adds up."""
        return self.left[-2 if self.transpose_left else -1]

    @property
    def batch(self) -> int:
        """How many matrices it multiplies."""
        return math.prod(self.result[:-2])

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.result) * self.depth


Product = Linear | Attention


def stage_products(content: bytes) -> tuple[tuple[Product, ...], ...]:
    """Every matrix product of the signatures stage_0, stage_1, … in the order in which they run, a tuple a stage."""
    model = read_model(content)
    stages = sorted(
        (int(key.removeprefix("stage_")), graph) for key, graph, _, _ in signatures(model) if key.startswith("stage_")
    )
    found = ((_product(model, graph, operator) for operator in graph.operators) for _, graph in stages)
    return tuple(tuple(product for product in stage if product is not None) for stage in found)


def _product(model: Any, graph: Any, operator: Any) -> Product | None:
    name = operator_name(model, operator)
    if name not in ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL") or squares(model, graph, operator):
        return None
    left, right, result = (
        tuple(int(size) for size in graph.tensors[index].shape)
        for index in (operator.inputs[0], operator.inputs[1], operator.outputs[0])
    )
    if name == "BATCH_MATMUL":
        options = operator.builtinOptions
        return Attention(left, right, result, bool(options.adjX), bool(options.adjY))
    columns = right[0]
    return Linear(math.prod(result) // columns, math.prod(right[1:]), columns)
