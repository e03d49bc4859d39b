"""A TensorFlow Lite graph under construction: tensors, constants in the form they are stored in, and the operators of a text tower."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.text.text_tower import Floats
from convert.tflite.flatbuffer import schema, write_model

_OPTIONS = {"MEAN": "Reducer", "FULLY_CONNECTED": "FullyConnected", "BATCH_MATMUL": "BatchMatMul", "ARG_MAX": "ArgMax"}
_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int8": "INT8"}
_VERSIONS = {"FULLY_CONNECTED": 12, "EMBEDDING_LOOKUP": 4, "DEQUANTIZE": 6, "GATHER": 7, "ARG_MAX": 2, "BATCH_MATMUL": 4}


class File:
    """A .tflite file under construction; equal constants, which its graphs have in common, are stored once when it is written."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"clip-rescue"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.model.subgraphs, self.model.signatureDefs = [], []
        self._codes: dict[str, int] = {}

    def code(self, kind: str) -> int:
        """The index of an operator's code."""
        if kind not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), _VERSIONS.get(kind, 1)
            self._codes[kind] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        return self._codes[kind]

    def buffer(self, values: NDArray[Any]) -> int:
        """The index of a new buffer with these values."""
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def content(self) -> bytes:
        """The file's bytes."""
        return write_model(self.model)


class Graph:
    """One subgraph; every method that computes adds an operator and gives the index of its output."""

    def __init__(self, file: File) -> None:
        self.file, self.graph = file, schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, shape: tuple[int, ...], kind: str = "float32") -> int:
        """A tensor that is computed, or comes in."""
        made = schema.TensorT()
        made.name, made.shape, made.hasRank = f"t{len(self.graph.tensors)}".encode(), list(shape), True
        made.type = getattr(schema.TensorType, _TYPES[kind])
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, values: NDArray[Any], scales: Floats | None = None) -> int:
        """A constant; `scales` are those of int8 codes, one per row."""
        index = self.tensor(values.shape, values.dtype.name)
        made = self.graph.tensors[index]
        made.buffer = self.file.buffer(values)
        if scales is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
            made.quantization.quantizedDimension = 0
        return index

    def add(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], result: str = "float32", **options: Any) -> int:
        """An operator with one output of that shape and type."""
        output, operator = self.tensor(shape, result), schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.file.code(kind), list(inputs), [output]
        name = _OPTIONS.get(kind, kind.title().replace("_", "")) + "Options"
        if hasattr(schema, f"{name}T"):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, f"{name}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return output

    def shape(self, index: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self.graph.tensors[index].shape)

    def reshape(self, value: int, shape: tuple[int, ...]) -> int:
        """The same numbers in another shape, of whatever type they are."""
        kind = "int32" if self.graph.tensors[value].type == schema.TensorType.INT32 else "float32"
        return self.add("RESHAPE", (value, self.constant(np.array(shape, np.int32))), shape, kind, newShape=list(shape))

    def transpose(self, value: int, order: tuple[int, ...]) -> int:
        """The axes in another order."""
        shape = tuple(self.shape(value)[axis] for axis in order)
        return self.add("TRANSPOSE", (value, self.constant(np.array(order, np.int32))), shape)

    def mean(self, value: int) -> int:
        """The mean over the last axis, which stays with length 1."""
        shape = self.shape(value)
        axis = self.constant(np.array([len(shape) - 1], np.int32))
        return self.add("MEAN", (value, axis), (*shape[:-1], 1), keepDims=True)

    def norm(self, value: int, epsilon: float) -> int:
        """LayerNorm over the last axis, without affine."""
        centred = self.add("SUB", (value, self.mean(value)), self.shape(value))
        variance = self.mean(self.add("MUL", (centred, centred), self.shape(value)))
        raised = self.add("ADD", (variance, self.constant(np.array([epsilon], np.float32))), self.shape(variance))
        return self.add("MUL", (centred, self.add("RSQRT", (raised,), self.shape(raised))), self.shape(value))

    def signature(self, key: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """The subgraph is complete and can be called by this name."""
        self.graph.name, self.graph.inputs, self.graph.outputs = key.encode(), list(inputs.values()), list(outputs.values())
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = key.encode(), len(self.file.model.subgraphs)
        definition.inputs, definition.outputs = _entries(inputs), _entries(outputs)
        self.file.model.subgraphs.append(self.graph)
        self.file.model.signatureDefs.append(definition)


def _entries(tensors: dict[str, int]) -> list[Any]:
    entries = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        entries.append(entry)
    return entries
