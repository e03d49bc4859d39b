"""Adding operators to a file that is integer already: what is added lies on a grid at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from convert.passes.editing import Editor
from convert.tflite.flatbuffer import schema

_OPTIONS = {
    "GELU": ("GeluOptions", schema.GeluOptionsT),
    "REDUCE_MAX": ("ReducerOptions", schema.ReducerOptionsT),
    "FULLY_CONNECTED": ("FullyConnectedOptions", schema.FullyConnectedOptionsT),
}


class IntegerEditor(Editor):
    """One subgraph of int8 tensors."""

    def __init__(self, model: Any, graph: Any, roles: dict[str, str], grids: dict[str, Grid]) -> None:
        super().__init__(model, graph, roles)
        self.grids = grids

    def made(self, role: str, like: int, grid: Grid, last: int | None = None) -> int:
        """A new tensor with the shape of tensor `like`, its last axis `last` long where that is given."""
        made = self.tensor(role, like)
        if last is not None:
            self.graph.tensors[made].shape[-1] = last
        self._on(made, role, grid)
        return made

    def number(self, role: str, value: float) -> int:
        """A positive constant of one element: the highest code of a grid of its own."""
        codes: NDArray[np.int8] = np.full((1,), 127, np.int8)
        made = self.constant(role, codes, role=role)
        self._on(made, role, Grid(float(np.float32(value / 127)), 0))
        return made

    def rows(self, name: str, values: NDArray[np.float64], columns: int) -> int:
        """Constant weights [len(values), columns] of a layer, all of a row equal to its value: the highest code of the row's own step."""
        made = self.constant(name, np.full((len(values), columns), 127, np.int8))
        tensor, quantization = self.graph.tensors[made], schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = (values / 127).astype(np.float32), np.zeros(len(values), np.int64)
        tensor.type, tensor.quantization = schema.TensorType.INT8, quantization
        return made

    def bias(self, name: str, codes: NDArray[np.int32], reads: int, weights: int) -> int:
        """The biases of a layer that reads these with these weights: steps of input times weight, per channel."""
        made, quantization = self.constant(name, codes), schema.QuantizationParametersT()
        steps = np.asarray(self.graph.tensors[weights].quantization.scale) * self.graph.tensors[reads].quantization.scale[0]
        quantization.scale, quantization.zeroPoint = steps.astype(np.float32), np.zeros(len(codes), np.int64)
        self.graph.tensors[made].quantization = quantization
        return made

    def single(self, kind: str, inputs: list[int], output: int, **options: Any) -> int:
        """An operator that `add` does not know; gives its output."""
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._code(kind), inputs, [output]
        if kind in _OPTIONS:
            name, make = _OPTIONS[kind]
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, name), make()
            for key, value in options.items():
                setattr(made.builtinOptions, key, value)
        self.operators.append(made)
        return output

    def _on(self, index: int, role: str, grid: Grid) -> None:
        tensor, quantization = self.graph.tensors[index], schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [grid.scale], [grid.zero_point]
        tensor.type, tensor.quantization = schema.TensorType.INT8, quantization
        self.grids[role] = grid
