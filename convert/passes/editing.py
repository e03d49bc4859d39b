"""Adding tensors, constants and operators to a subgraph of the schema's objects."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.tflite.flatbuffer import schema, text

_OPTIONS = {
    "ADD": ("AddOptions", schema.AddOptionsT),
    "SUB": ("SubOptions", schema.SubOptionsT),
    "MUL": ("MulOptions", schema.MulOptionsT),
    "MAXIMUM": ("MaximumMinimumOptions", schema.MaximumMinimumOptionsT),
    "QUANTIZE": ("QuantizeOptions", schema.QuantizeOptionsT),
    "CONCATENATION": ("ConcatenationOptions", schema.ConcatenationOptionsT),
}


class Editor:
    """One subgraph whose operators are written anew, in order: `emit` keeps an old one, `add` makes one."""

    def __init__(self, model: Any, graph: Any, roles: dict[str, str]) -> None:
        self.model, self.graph, self.roles = model, graph, roles
        self.operators: list[Any] = []

    def role(self, index: int) -> str:
        """The tensor's role, empty for a constant."""
        return self.roles.get(text(self.graph.tensors[index].name), "")

    def rename(self, index: int, role: str) -> None:
        """A tensor plays another role."""
        self.roles[text(self.graph.tensors[index].name)] = role

    def tensor(self, role: str, like: int) -> int:
        """A new float tensor of that role, with the shape of tensor `like`."""
        made = schema.TensorT()
        made.name, made.type, made.hasRank = self._name(role), schema.TensorType.FLOAT32, True
        made.shape = [int(n) for n in self.graph.tensors[like].shape]
        self.graph.tensors.append(made)
        self.roles[text(made.name)] = role
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: NDArray[Any], role: str | None = None) -> int:
        """A new constant tensor, float32 or int32; with a role it will lie on that role's grid."""
        buffer, made = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        made.name, made.type, made.shape, made.hasRank = self._name(name), kind, list(values.shape), True
        if role is not None:
            self.roles[text(made.name)] = role
        made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def emit(self, operator: Any) -> None:
        """Keep an operator."""
        self.operators.append(operator)

    def add(self, kind: str, inputs: list[int], output: int, **options: int) -> int:
        """A new elementwise operator or concatenation; gives its output."""
        name, make = _OPTIONS[kind]
        made = schema.OperatorT()
        made.opcodeIndex = self._code(kind)
        made.inputs, made.outputs = inputs, [output]
        made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, name), make()
        for key, value in options.items():
            setattr(made.builtinOptions, key, value)
        self.operators.append(made)
        return output

    def again(self, operator: Any, inputs: list[int], output: int) -> int:
        """The same operator with other tensors; gives its output."""
        made = copy.copy(operator)
        made.inputs, made.outputs = inputs, [output]
        self.operators.append(made)
        return output

    def finish(self) -> None:
        """The subgraph has the new operators, without those whose results nobody uses."""
        needed, kept = {int(i) for i in self.graph.outputs}, []
        for operator in reversed(self.operators):
            if any(int(o) in needed for o in operator.outputs):
                kept.append(operator)
                needed |= {int(i) for i in operator.inputs if i >= 0}
        self.graph.operators = kept[::-1]

    def _name(self, wish: str) -> bytes:
        """A name that no tensor of the model has: the quantizer knows tensors by name alone."""
        return f"{wish};{sum(len(graph.tensors) for graph in self.model.subgraphs)}".encode()

    def _code(self, kind: str) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == getattr(schema.BuiltinOperator, kind):
                return index
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        made.version = 1
        self.model.operatorCodes.append(made)
        return len(self.model.operatorCodes) - 1
