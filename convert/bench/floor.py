"""The floor: one TensorFlow Lite file that holds a network's bare int8 matrix products and nothing else.

All products stand in one file, each with weights of its own, because a layer that is timed alone finds its weights in the cache
and runs faster than it can inside any network. A product reads what the last one of a fitting shape put out, so that activations
pass through the cache as in a network too; what no product reads is an output of the file, or XNNPACK would drop the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.bench.products import Attention, Linear, Product
from convert.tflite.flatbuffer import schema, write_model

SIGNATURE = "floor"
STEP = 0.05  # of every activation; time does not depend on it
CODES_RMS = 73.6  # of uniform int8 codes -127 .. 127


def floor_file(products: Sequence[Product], seed: int = 0) -> bytes:
    """The products in their order as FULLY_CONNECTED with per-channel weights drawn at random, and BATCH_MATMUL with zero point 0."""
    return write_model(_Writer(np.random.default_rng(seed)).model(products))


class _Writer:
    """One subgraph under construction; `_latest` is the tensor of each shape that was computed last."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._buffers = [schema.BufferT()]  # buffer 0 stays the empty one, as the format wants it
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._latest: dict[tuple[int, ...], int] = {}
        self._inputs: list[int] = []

    def model(self, products: Sequence[Product]) -> Any:
        for product in products:
            if isinstance(product, Linear):
                self._linear(product)
            else:
                self._attention(product)
        read = {index for operator in self._operators for index in operator.inputs}
        outputs = [operator.outputs[0] for operator in self._operators if operator.outputs[0] not in read]
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = SIGNATURE.encode(), self._tensors, self._operators
        graph.inputs, graph.outputs = self._inputs, outputs
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = SIGNATURE.encode(), 0
        definition.inputs, definition.outputs = _entries("in", self._inputs), _entries("out", outputs)
        model = schema.ModelT()
        model.version, model.description = 3, b"bare matrix products"
        model.operatorCodes = [
            _code(schema.BuiltinOperator.FULLY_CONNECTED, 4),  # the version that has int8
            _code(schema.BuiltinOperator.BATCH_MATMUL, 2),
        ]
        model.subgraphs, model.buffers, model.signatureDefs = [graph], self._buffers, [definition]
        return model

    def _linear(self, product: Linear) -> None:
        codes = self._random.integers(-127, 128, (product.columns, product.depth), np.int8)
        # With this step outputs spread over their grid as inputs do over theirs.
        steps = np.full(product.columns, 1 / (CODES_RMS * product.depth**0.5))
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        given = self._activation((product.rows, product.depth))
        weights = self._constant(codes, steps)
        bias = self._constant(np.zeros(product.columns, np.int32), steps * STEP)
        self._operator(0, [given, weights, bias], (product.rows, product.columns), "FullyConnectedOptions", options)

    def _attention(self, product: Attention) -> None:
        options = schema.BatchMatMulOptionsT()
        options.adjX, options.adjY = product.transpose_left, product.transpose_right
        given = [self._activation(product.left), self._activation(product.right)]
        self._operator(1, given, product.result, "BatchMatMulOptions", options)

    def _activation(self, shape: tuple[int, ...]) -> int:
        """The last tensor of that shape; where none was computed yet, an input of the file."""
        if shape not in self._latest:
            self._latest[shape] = self._tensor(shape, schema.TensorType.INT8, [STEP])
            self._inputs.append(self._latest[shape])
        return self._latest[shape]

    def _constant(self, values: NDArray[Any], steps: NDArray[np.float64]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._buffers.append(buffer)
        kind = schema.TensorType.INT8 if values.dtype == np.int8 else schema.TensorType.INT32
        return self._tensor(values.shape, kind, steps.tolist(), len(self._buffers) - 1)

    def _tensor(self, shape: tuple[int, ...], kind: int, steps: list[float], buffer: int = 0) -> int:
        tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint, quantization.quantizedDimension = steps, [0] * len(steps), 0
        tensor.name, tensor.shape, tensor.hasRank = f"t{len(self._tensors)}".encode(), list(shape), True
        tensor.type, tensor.quantization, tensor.buffer = kind, quantization, buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _operator(self, code: int, inputs: list[int], shape: tuple[int, ...], kind: str, options: Any) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = code, inputs
        operator.outputs = [self._tensor(shape, schema.TensorType.INT8, [STEP])]
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._operators.append(operator)
        self._latest[shape] = operator.outputs[0]


def _code(builtin: int, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
    return code


def _entries(name: str, tensors: Iterable[int]) -> list[Any]:
    entries = []
    for number, tensor in enumerate(tensors):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"{name}_{number}".encode(), tensor
        entries.append(entry)
    return entries
