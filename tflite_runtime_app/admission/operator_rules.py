"""What each operator of a model may look like: from its inputs and options follows the shape of its output, or it is refused.

LiteRT's kernels check much of this themselves and trust the rest; nothing here is left to them. Here is what files have in common; bundles
(`integer_rules.py`) and text towers (`text_rules.py`) each have a table of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.admission.flatbuffer_schema import INT8, INT32, NO_ACTIVATION, RELU

Shape = tuple[int, ...]
NONE = type(None)  # the options of an operator that has none
MAX_ELEMENTWISE_RANK, MAX_MATMUL_RANK = 4, 5  # what LiteRT's kernels lay out in arrays of fixed length


class Misfit(Exception):
    """An operator that no bundle holds; the message says what is wrong with it, not where it stands."""


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """One tensor as an operator sees it.

    `values` are a constant's, flat, else None; `scale` and `zero_point` are those of a grid that all its values share, else None. `below`
    is what every number of a computed list of indices is smaller than, None where nothing is known of them.
    """

    shape: Shape
    type: int
    scale: float | None
    values: npt.NDArray[Any] | None
    below: int | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator: `inputs` hold None for one that is left out."""

    options: Any
    inputs: tuple[Operand | None, ...]
    output: Operand

    def activation(self, number: int) -> Operand:
        """Input `number`: int8, on one grid, constant or computed."""
        operand = self.input(number)
        require(operand.type == INT8 and operand.scale is not None, f"input {number} should be int8 on one grid")
        return operand

    def numbers(self, number: int) -> list[int]:
        """Input `number`, a constant list of int32."""
        operand = self.input(number)
        fits = operand.type == INT32 and operand.values is not None and len(operand.shape) <= 1
        require(fits, f"input {number} should be a constant list of int32")
        assert operand.values is not None
        return [int(value) for value in operand.values]

    def count(self, least: int, most: int) -> None:
        require(least <= len(self.inputs) <= most, f"expected {least} to {most} inputs, found {len(self.inputs)}")

    def input(self, number: int) -> Operand:
        """Input `number`, whatever it is."""
        operand = self.inputs[number] if number < len(self.inputs) else None
        if operand is None:
            raise Misfit(f"input {number} is missing")
        return operand


Rule = Callable[[Node], Shape]
Kinds = tuple[type, ...]  # of options that an operator may have


@dataclass(frozen=True, slots=True)
class Rules:
    """What a kind of file may be made of: operators by the schema's number and name, and the rule and options of each.

    `types` are those of constants, `computed` those of what operators make and signatures put in and out. `node` is how an operator sees
    its inputs, `made` raises Misfit where a node's output is of another type or grid than it should be, `below` gives the bound of the
    indices that an operator makes, and `ids` that of what comes in from outside.
    """

    what: str
    operators: Mapping[int, str]
    rules: Mapping[str, tuple[Rule, Kinds]]
    types: frozenset[int]
    computed: frozenset[int]
    enters: int
    leaves: int
    node: type[Node]
    made: Callable[[str, Node], None]
    below: Callable[[str, Node], int | None] = lambda name, node: None
    ids: int | None = None

    def output_shape(self, name: str, node: Node) -> Shape:
        """The shape that operator `name` gives. Raises Misfit for options or inputs that such files never have."""
        rule, kinds = self.rules[name]
        require(type(node.options) in kinds, f"options of kind {type(node.options).__name__} do not belong to it")
        activation = getattr(node.options, "fused_activation", NO_ACTIVATION)
        require(activation in (NO_ACTIVATION, RELU), f"fused activation {activation} is not one of our files'")
        self.made(name, node)
        return rule(node)


def elementwise(node: Node) -> Shape:
    """Both inputs broadcast."""
    node.count(2, 2)
    left, right = node.activation(0).shape, node.activation(1).shape
    require(max(len(left), len(right)) <= MAX_ELEMENTWISE_RANK, f"shapes {left} and {right} have too many dimensions")
    try:
        return tuple(int(size) for size in np.broadcast_shapes(left, right))
    except ValueError:
        raise Misfit(f"shapes {left} and {right} do not go together") from None


def unary(node: Node) -> Shape:
    """The input's own."""
    node.count(1, 1)
    return node.activation(0).shape


def softmax(node: Node) -> Shape:
    """The input's own; over the last axis."""
    require(node.options.beta == 1.0, f"beta should be 1, found {node.options.beta}")
    shape = unary(node)
    require(1 <= len(shape) <= 4, f"shape {shape} should have 1 to 4 dimensions")
    return shape


def batch_matmul(node: Node) -> Shape:
    """Products of matrices, what stands before them broadcast."""
    node.count(2, 2)
    require(not node.options.asymmetric_quantize_inputs, "inputs should be int8 already")
    left, right = node.activation(0).shape, node.activation(1).shape
    require(all(2 <= len(shape) <= MAX_MATMUL_RANK for shape in (left, right)), f"shapes {left} and {right} are no matrices")
    rows, inner = reversed(left[-2:]) if node.options.adj_x else left[-2:]
    other, columns = reversed(right[-2:]) if node.options.adj_y else right[-2:]
    require(inner == other, f"matrices of {left} and {right} do not go together")
    try:
        batches = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise Misfit(f"shapes {left} and {right} do not go together") from None
    return (*(int(size) for size in batches), rows, columns)


def reshaped(node: Node, given: Shape) -> Shape:
    """The shape that input 1 states, for values of shape `given`."""
    node.count(2, 2)
    wanted, elements = node.numbers(1), math.prod(given)
    known = math.prod(size for size in wanted if size != -1)
    require(all(size >= 1 or size == -1 for size in wanted) and wanted.count(-1) <= 1, f"no shape: {wanted}")
    shape = tuple(elements // known if size == -1 else size for size in wanted)
    require(math.prod(shape) == elements, f"{elements} values do not have shape {shape}")
    return shape


def transpose(node: Node) -> Shape:
    """The input's in another order."""
    node.count(2, 2)
    shape, order = node.activation(0).shape, node.numbers(1)
    require(sorted(order) == list(range(len(shape))) and len(shape) <= 6, f"{order} is no order of {len(shape)} dimensions")
    return tuple(shape[axis] for axis in order)


def reduced(node: Node) -> Shape:
    """The input's without the axes that an average or a maximum is taken over, or with 1 in their place."""
    node.count(2, 2)
    shape, axes = node.activation(0).shape, node.numbers(1)
    rank = len(shape)
    require(1 <= rank <= 4 and all(-rank <= axis < rank for axis in axes), f"axes {axes} are none of {rank}")
    gone = {axis % rank for axis in axes}
    require(len(gone) == len(axes) >= 1, f"axes {axes} are none or name one twice")
    if node.options.keep_dims:
        return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def require(condition: bool, finding: str) -> None:
    """Raises Misfit unless `condition`."""
    if not condition:
        raise Misfit(finding)
