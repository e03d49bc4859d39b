"""Several TensorFlow Lite files as the signatures of one, and one signature as a file of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convert.support.errors import EmitError
from convert.tflite.flatbuffer import prune, read_model, schema, text, write_model

KERAS_COUNTER = re.compile(r"\bmodel_\d+\b")  # how many models keras has made by then: another number on another processor


@dataclass(frozen=True, slots=True)
class Part:
    """A file with one subgraph, the signature `key` that it becomes, and names for its inputs and outputs in their order."""

    key: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def merge(parts: Sequence[Part]) -> bytes:
    """One file in which each part is a subgraph and a signature; operator codes and equal constants are stored once.

    A tensor is called `KEY/NAME`, NAME being what its part calls it without keras's counter, so that no two of the file have one name and
    equal parts give equal bytes. Raises EmitError for a part of another form.
    """
    merged = schema.ModelT()
    merged.version, merged.description = 3, b"clip-rescue"
    merged.operatorCodes, merged.subgraphs, merged.buffers, merged.signatureDefs = [], [], [schema.BufferT()], []
    for part in parts:
        _add(merged, part)
    prune(merged)
    return write_model(merged)


def single(content: bytes, key: str) -> bytes:
    """The file of one signature alone: its subgraph and the constants that it reads. Raises KeyError when there is none of that name."""
    model = read_model(content)
    definition = {text(entry.signatureKey): entry for entry in model.signatureDefs}[key]
    model.subgraphs = [model.subgraphs[definition.subgraphIndex]]
    definition.subgraphIndex, model.signatureDefs = 0, [definition]
    prune(model)
    return write_model(model)


def _add(merged: Any, part: Part) -> None:
    model = read_model(part.content)
    graph = _only_subgraph(model, part)
    codes = [_code(merged, code) for code in model.operatorCodes]
    for operator in graph.operators:
        operator.opcodeIndex = codes[operator.opcodeIndex]
    first = len(merged.buffers)
    merged.buffers += model.buffers
    for tensor in graph.tensors:
        tensor.name, tensor.buffer = f"{part.key}/{_stable(tensor)}".encode(), first + tensor.buffer
    graph.name = part.key.encode()
    merged.subgraphs.append(graph)
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = part.key.encode(), len(merged.subgraphs) - 1
    definition.inputs, definition.outputs = _entries(part.inputs, graph.inputs), _entries(part.outputs, graph.outputs)
    merged.signatureDefs.append(definition)


def _only_subgraph(model: Any, part: Part) -> Any:
    """The part's subgraph, which has as many inputs and outputs as there are names, and no tensor name twice."""
    if len(model.subgraphs) != 1:
        raise EmitError(f"{part.key} should be one subgraph, the converter made {len(model.subgraphs)}")
    graph = model.subgraphs[0]
    for what, names, tensors in (("inputs", part.inputs, graph.inputs), ("outputs", part.outputs, graph.outputs)):
        if len(names) != len(tensors):
            raise EmitError(f"{part.key} should have the {what} {', '.join(names)}, the converter made {len(tensors)}")
    double = [name for name, count in Counter(_stable(tensor) for tensor in graph.tensors).items() if count > 1]
    if double:
        raise EmitError(f"{part.key} has several tensors called {double[0]}; the quantizer knows tensors by name alone")
    return graph


def _stable(tensor: Any) -> str:
    """The tensor's name without what only tells in which order keras made things."""
    return KERAS_COUNTER.sub("model", text(tensor.name))


def _code(merged: Any, wanted: Any) -> int:
    """The index of an operator code in the merged model, added where it is not there yet."""

    def identity(code: Any) -> tuple[Any, ...]:
        return max(code.builtinCode, code.deprecatedBuiltinCode), code.customCode, code.version

    for index, code in enumerate(merged.operatorCodes):
        if identity(code) == identity(wanted):
            return index
    merged.operatorCodes.append(wanted)
    return len(merged.operatorCodes) - 1


def _entries(names: Sequence[str], tensors: Sequence[int]) -> list[Any]:
    entries = []
    for name, index in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(index)
        entries.append(entry)
    return entries
