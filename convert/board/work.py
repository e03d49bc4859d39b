"""What a finished file makes a processor do, signature by signature: the terms of the cost model, counted operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np

from convert.tflite import xnnpack
from convert.tflite.audit import census
from convert.tflite.flatbuffer import TYPE_NAMES, operator_name, read_model, signatures
from targets.cost import Work

ITEM = {"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4, "INT64": 8}
UNMOVED = frozenset({"RESHAPE"})  # its output is its input under another shape


def work(content: bytes) -> dict[str, Work]:
    """Of every signature of a flatbuffer: weights count as read once, activations as written and as read by every reader."""
    model, counted = read_model(content), census(content)
    return {
        key: Work(counted[key].macs, bytes_moved(model, graph), xnnpack.expected(model, graph).pieces, _plain(model, graph))
        for key, graph, _, _ in signatures(model)
    }


def unfit(content: bytes, types: tuple[str, ...], forbidden: tuple[str, ...]) -> tuple[str, ...]:
    """The operators that are forbidden and the tensors of other types, each named once a signature with how many there are."""
    model = read_model(content)
    return tuple(
        f"{count} {what} in {key}"
        for key, graph, _, _ in signatures(model)
        for what, count in lacking(model, graph, types, lambda name: name in forbidden).items()
    )


def lacking(model: Any, graph: Any, types: Collection[str], lacks: Callable[[str], bool]) -> Counter[str]:
    """What a subgraph needs and a runtime has not, and how often: operators that it `lacks`, and operators on other types of tensors."""
    found: Counter[str] = Counter()
    for operator in graph.operators:
        name = operator_name(model, operator)
        used = {TYPE_NAMES[graph.tensors[int(i)].type] for i in (*operator.inputs, *operator.outputs) if i >= 0}
        found.update([name] if lacks(name) else [])
        found.update(f"{name} on {kind}" for kind in sorted(used - set(types)))
    return found


def bytes_moved(model: Any, graph: Any) -> float:
    """Bytes that a subgraph's operators read and write."""
    moving = [operator for operator in graph.operators if operator_name(model, operator) not in UNMOVED]
    return float(sum(_size(graph, int(i)) for operator in moving for i in (*operator.inputs, *operator.outputs) if i >= 0))


def _plain(model: Any, graph: Any) -> dict[str, float]:
    """Elements of the largest tensor of each operator that XNNPACK leaves, summed by the operator's name."""
    found: Counter[str] = Counter()
    for operator in graph.operators:
        alone = SimpleNamespace(tensors=graph.tensors, operators=[operator])
        for name in xnnpack.expected(model, alone).left:
            found[name] += largest(graph, operator)
    return {name: float(count) for name, count in found.items()}


def largest(graph: Any, operator: Any) -> int:
    """Elements of an operator's largest tensor."""
    return max(_elements(graph.tensors[int(i)]) for i in (*operator.inputs, *operator.outputs) if i >= 0)


def _elements(tensor: Any) -> int:
    return 1 if tensor.shape is None else int(np.prod(tensor.shape))


def _size(graph: Any, index: int) -> int:
    tensor = graph.tensors[index]
    return _elements(tensor) * ITEM.get(TYPE_NAMES[tensor.type], 4)
