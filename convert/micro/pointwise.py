"""Every FULLY_CONNECTED as a 1x1 CONV_2D over the tokens, [n, 1, in] or [n, in] as [1, 1, n, in].

TensorFlow Lite Micro's FULLY_CONNECTED rounds otherwise than LiteRT's now and then, its CONV_2D never (measured, docs/microcontrollers.md):
so a stage can be compared to the bit. CMSIS-NN, ESP-NN and Vela are at least as fast with it. Elementwise operators between two of them
take the four axes too, so that next to no RESHAPE is added.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.tflite.flatbuffer import operator_name, schema, text

ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "LOGISTIC", "RSQRT", "QUANTIZE"})


def apply(model: Any) -> None:
    """No subgraph has a FULLY_CONNECTED; inputs and outputs of subgraphs keep their shapes, and all results their codes."""
    for graph in model.subgraphs:
        _Rewriting(model, graph).run()


class _Rewriting:
    """One subgraph; `wide` gives the four-axis twin of a tensor of rows, `flat` says which of those exist as they were."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model, self.graph = model, graph
        self.wide: dict[int, int] = {}
        self.flat = {int(index) for index in graph.inputs}
        self.operators: list[Any] = []

    def run(self) -> None:
        for operator in self.graph.operators:
            name, output = operator_name(self.model, operator), int(operator.outputs[0])
            rows = self._is_rows(output)
            if name == "FULLY_CONNECTED":
                self._convolution(operator)
            elif name == "RESHAPE" and rows:
                self._reshape(self._any(int(operator.inputs[0])), self._twin(output))
            elif name == "RESHAPE":
                self._reshape(self._any(int(operator.inputs[0])), output)
                self.flat.add(output)
            elif name in ELEMENTWISE and rows and any(int(i) in self.wide for i in operator.inputs):
                self._put(operator, [self._operand(int(i)) for i in operator.inputs], self._twin(output))
            else:
                self._put(operator, [self._flat(int(i)) for i in operator.inputs], output)
                self.flat.add(output)
        for index in self.graph.outputs:
            self._flat(int(index))
        self.graph.operators = self.operators

    def _convolution(self, operator: Any) -> None:
        inputs = [int(i) for i in operator.inputs if i >= 0]
        weights = self.graph.tensors[inputs[1]]
        if len(inputs) == 2:
            inputs.append(self._zeros(inputs[0], weights))
        if len(weights.shape) == 2:  # a layer that is used twice has its axes already
            weights.shape = [int(weights.shape[0]), 1, 1, int(weights.shape[1])]
        made, options = copy.copy(operator), schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
        made.opcodeIndex = self._code("CONV_2D", 3)
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
        self._put(made, [self._wide(inputs[0]), *inputs[1:]], self._twin(int(operator.outputs[0])))

    def _zeros(self, given: int, weights: Any) -> int:
        """A bias of zeros: CONV_2D wants one."""
        tensor, grid = schema.TensorT(), schema.QuantizationParametersT()
        step = float(self.graph.tensors[given].quantization.scale[0])
        grid.scale = np.array(weights.quantization.scale, np.float32) * np.float32(step)
        grid.zeroPoint = np.zeros(len(grid.scale), np.int64)
        tensor.name, tensor.quantization = b"bias", grid
        return self._constant(tensor, np.zeros(int(weights.shape[0]), np.int32))

    def _constant(self, tensor: Any, values: NDArray[np.int32]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.type, tensor.shape, tensor.hasRank = schema.TensorType.INT32, [len(values)], True
        tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _put(self, operator: Any, inputs: list[int], output: int) -> None:
        made = copy.copy(operator)
        made.inputs, made.outputs = inputs, [output]
        self.operators.append(made)

    def _is_rows(self, index: int) -> bool:
        """Whether the tensor has a row a token, [n, d] or [n, 1, d]."""
        shape = self.graph.tensors[index].shape
        return len(shape) == 2 or (len(shape) == 3 and int(shape[1]) == 1)

    def _operand(self, index: int) -> int:
        """What stands beside a four-axis tensor: rows as four axes too, a single number as it is."""
        return (
            self._wide(index)
            if self._is_rows(index) and int(self.graph.tensors[index].shape[0]) > 1
            else self.wide.get(index, index)
        )

    def _any(self, index: int) -> int:
        """The tensor in either form: what is reshaped next has any shape."""
        return self.wide.get(index, index)

    def _wide(self, index: int) -> int:
        if index not in self.wide:
            self._reshape(index, self._twin(index))
        return self.wide[index]

    def _flat(self, index: int) -> int:
        if index in self.wide and index not in self.flat:
            self._reshape(self.wide[index], index)
            self.flat.add(index)
        return index

    def _twin(self, index: int) -> int:
        """The tensor's twin with four axes, made when it is first asked for."""
        if index not in self.wide:
            made = copy.copy(self.graph.tensors[index])
            *rows, channels = (int(n) for n in made.shape)
            made.name, made.shape = f"{text(made.name)}/4d".encode(), [1, 1, math.prod(rows), channels]
            self.graph.tensors.append(made)
            self.wide[index] = len(self.graph.tensors) - 1
        return self.wide[index]

    def _reshape(self, given: int, output: int) -> None:
        shape = np.array([int(n) for n in self.graph.tensors[output].shape], np.int32)
        tensor, made = schema.TensorT(), schema.OperatorT()
        tensor.name = b"shape"
        made.opcodeIndex, made.outputs = self._code("RESHAPE", 1), [output]
        made.inputs = [given, self._constant(tensor, shape)]
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
        made.builtinOptions.newShape = [int(n) for n in shape]
        self.operators.append(made)

    def _code(self, kind: str, version: int) -> int:
        """The index of an operator code in the model, added where it is not there yet."""
        wanted = getattr(schema.BuiltinOperator, kind)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted:
                return index
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = wanted, wanted, version
        self.model.operatorCodes.append(made)
        return len(self.model.operatorCodes) - 1
