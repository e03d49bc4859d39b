"""A .tflite file as the schema's own objects, and back.

The quantizer leaves constants behind the flatbuffer (Buffer.offset and size); reading brings them in, so that what is written
holds everything inside and any reader, TensorFlow Lite Micro's too, finds the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = [
    "OPERATOR_NAMES",
    "TYPE_NAMES",
    "constant",
    "constants",
    "operator_name",
    "prune",
    "read_model",
    "schema",
    "signatures",
    "squares",
    "text",
    "write_model",
]

OPERATOR_NAMES: dict[int, str] = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
TYPE_NAMES: dict[int, str] = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_NUMPY: dict[str, str] = {
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT32": "float32",
    "BOOL": "bool",
}


SHARED_FROM = 64  # bytes; shapes and lists of tensors are shorter, and not worth looking up


def read_model(content: bytes) -> Any:
    """The file's ModelT with every constant inside its buffer."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for buffer in model.buffers:
        if buffer.offset and buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def write_model(model: Any) -> bytes:
    """The ModelT as the bytes of a .tflite file; equal vectors (the zero points of all layers of one width) are stored once."""
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = _SharingBuilder(size + (1 << 20))  # growing would hold two copies at a time
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that refers to a long vector that it has written already instead of writing it again, and aligns constants."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:
        """The place of a vector with these values."""
        key = (x.dtype.str, hashlib.sha256(x.tobytes()).digest())
        if x.nbytes < SHARED_FROM or key not in self._written:
            if x.dtype == np.uint8:
                self.Prep(16, x.nbytes)  # the schema's force_align of Buffer.data, which the generated code leaves out
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]


def operator_name(model: Any, operator: Any) -> str:
    """`FULLY_CONNECTED`, `SOFTMAX`, …; for an operator that is not built in, `CUSTOM`."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def squares(model: Any, graph: Any, operator: Any) -> bool:
    """Whether the operator gives squared lengths, rows times themselves: a part of a norm, none of the tower's products.

    Of a single row the converter makes two views, as a row and as a column.
    """
    shape = graph.tensors[operator.outputs[0]].shape
    if operator_name(model, operator) != "BATCH_MATMUL" or [int(size) for size in shape[-2:]] != [1, 1]:
        return False
    shows = {int(view.outputs[0]): int(view.inputs[0]) for view in graph.operators if operator_name(model, view) == "RESHAPE"}
    left, right = (_viewed(shows, int(index)) for index in operator.inputs[:2])
    return left == right


def _viewed(shows: Mapping[int, int], index: int) -> int:
    """The tensor that another one shows in another shape, or the tensor itself."""
    while index in shows:
        index = shows[index]
    return index


def text(value: Any) -> str:
    """A flatbuffer string, which the schema's objects hold as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def signatures(model: Any) -> Iterator[tuple[str, Any, dict[str, int], dict[str, int]]]:
    """(key, subgraph, inputs by name, outputs by name) of each signature; the values are tensor indices."""
    for definition in model.signatureDefs or []:
        yield (
            text(definition.signatureKey),
            model.subgraphs[definition.subgraphIndex],
            {text(entry.name): int(entry.tensorIndex) for entry in definition.inputs},
            {text(entry.name): int(entry.tensorIndex) for entry in definition.outputs},
        )


def constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    """A constant tensor's values, or None for one that is computed."""
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    kind = _NUMPY[TYPE_NAMES[tensor.type]]
    shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind).reshape(shape)


def constants(model: Any) -> dict[str, NDArray[Any]]:
    """The values of every constant tensor by its name."""
    tensors = (tensor for graph in model.subgraphs for tensor in graph.tensors)
    return {text(tensor.name): values for tensor in tensors if (values := constant(model, tensor)) is not None}


def prune(model: Any) -> None:
    """Unused tensors and buffers are gone, and equal constants are stored once."""
    for number, graph in enumerate(model.subgraphs):
        _prune_tensors(model, graph, number)
    _prune_buffers(model)


def _prune_tensors(model: Any, graph: Any, number: int) -> None:
    used = {int(i) for operator in graph.operators for i in (*operator.inputs, *operator.outputs) if i >= 0}
    kept = sorted(used | {int(i) for i in (*graph.inputs, *graph.outputs)})
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}  # -1 stands for an input left out
    graph.tensors = [graph.tensors[i] for i in kept]
    graph.inputs, graph.outputs = [place[int(i)] for i in graph.inputs], [place[int(i)] for i in graph.outputs]
    for operator in graph.operators:
        operator.inputs, operator.outputs = [place[int(i)] for i in operator.inputs], [place[int(i)] for i in operator.outputs]
    for definition in model.signatureDefs or []:
        if definition.subgraphIndex == number:
            for entry in (*definition.inputs, *definition.outputs):
                entry.tensorIndex = place[int(entry.tensorIndex)]


def _prune_buffers(model: Any) -> None:
    """Buffer 0 stays the empty one, as the format wants it; metadata is dropped with its buffers."""
    model.metadata, model.metadataBuffer = None, None
    kept, place = [model.buffers[0]], {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or len(data) == 0:
                tensor.buffer = 0
                continue
            key = hashlib.sha256(np.asarray(data, np.uint8).tobytes()).digest()
            if key not in place:
                place[key] = len(kept)
                kept.append(model.buffers[tensor.buffer])
            tensor.buffer = place[key]
    model.buffers = kept
