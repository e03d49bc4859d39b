"""The residual stream as one int16 tensor, between branches that stay int8: the precision that two int8 terms are measured against.

Applied to the integer file, after the quantizer: every sum h + b is made in int16, b coming in by QUANTIZE, and whoever reads h reads its
int8 form, by QUANTIZE. Handed over is the int16 tensor. XNNPACK takes nothing in int16, so each sum costs three plain kernels: measured,
not shipped (`convert ladder`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.two_term import STREAM
from convert.passes.editing import Editor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import constant, operator_name, prune, schema, text

WIDE = "wide"


def wide_grid(largest: float) -> Grid:
    """The int16 grid that holds what was seen."""
    return Grid(max(largest, 1e-6) / 32767, 0)


def apply(state: GraphState) -> GraphState:
    """Every sum of the stream is an int16 tensor of the role `…/wide`, and its int8 form is read from it.

    Fires on an integer file whose state has an int16 stream, once for every sum. Positions are rounded to int16 once, from the float file's
    constants, not from their int8 form.
    """
    if state.stream != "int16":
        return replace(state, fired=0)
    model, fired = state.model, 0
    for definition in model.signatureDefs:
        graph = model.subgraphs[definition.subgraphIndex]
        edit = _Wide(model, graph, state)
        for operator in graph.operators:
            edit.operator(operator)
        for entry in (*definition.inputs, *definition.outputs):
            if entry.name == b"hidden":
                entry.tensorIndex = edit.wide_of(int(entry.tensorIndex))
        graph.inputs = [edit.wide.get(int(i), int(i)) if edit.is_stream(int(i)) else int(i) for i in graph.inputs]
        graph.outputs = [edit.wide[int(i)] if edit.is_stream(int(i)) else int(i) for i in graph.outputs]
        edit.finish()
        fired += edit.sums
    prune(model)
    return replace(state, fired=fired)


class _Wide(Editor):
    """One subgraph; `wide` holds the int16 partner of every int8 stream tensor."""

    def __init__(self, model: Any, graph: Any, state: GraphState) -> None:
        super().__init__(model, graph, state.roles)
        self.grids, self.largest, self.exact = state.grids, state.largest, state.exact
        self.sums = 0
        self.wide: dict[int, int] = {}
        for index in (int(i) for i in graph.inputs):
            if self.is_stream(index):
                self._narrow(self.wide_of(index), index)

    def is_stream(self, index: int) -> bool:
        return STREAM.fullmatch(self.role(index)) is not None

    def operator(self, operator: Any) -> None:
        name, output = operator_name(self.model, operator), int(operator.outputs[0])
        if not self.is_stream(output):
            self.emit(operator)
        elif name in ("ADD", "CONCATENATION"):
            wide = self.wide_of(output)
            inputs = [self._widened(int(i), self.role(output)) for i in operator.inputs]
            if name == "ADD":
                self.sums += 1
                operator.builtinOptions.potScaleInt16 = False  # scales of any size
            self.again(operator, inputs, wide)
            self._narrow(wide, output)
        elif name in ("RESHAPE", "STRIDED_SLICE"):
            self.again(
                operator, [self.wide[int(operator.inputs[0])], *(int(i) for i in operator.inputs[1:])], self.wide_of(output)
            )
            self.emit(operator)  # readers of the int8 form take it as it lies; what nobody reads is dropped
        else:
            self.emit(operator)
            self.wide[output] = self._widened(output, self.role(output))

    def wide_of(self, index: int) -> int:
        """The int16 partner, made when it is first asked for."""
        if index not in self.wide:
            role = self.role(index)
            self.wide[index] = self._tensor(f"{role}/{WIDE}", index, wide_grid(self.largest[role]))
        return self.wide[index]

    def _widened(self, index: int, role: str) -> int:
        """The tensor in int16: a stream's partner, a branch by QUANTIZE, a constant rounded to the sum's own grid."""
        if index in self.wide:
            return self.wide[index]
        tensor = self.graph.tensors[index]
        if constant(self.model, tensor) is not None:
            return self._constant(f"{role}/{WIDE}", index, self.exact[text(tensor.name)])
        own = self.role(index)
        made = self._tensor(f"{own}/{WIDE}", index, wide_grid(self.largest[own]))
        return self.add("QUANTIZE", [index], made)

    def _constant(self, role: str, like: int, values: NDArray[Any]) -> int:
        """The values, rounded to the grid of the sum that they go into."""
        made, grid = self._tensor(role, like, self.grids[role]), self.grids[role]
        buffer = schema.BufferT()
        codes = np.clip(np.rint(values / grid.scale), -32767, 32767).astype(np.int16)
        buffer.data = np.frombuffer(codes.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[made].buffer = len(self.model.buffers) - 1
        return made

    def _narrow(self, wide: int, narrow: int) -> None:
        self.add("QUANTIZE", [wide], narrow)

    def _tensor(self, role: str, like: int, grid: Grid) -> int:
        made = self.tensor(role, like)
        tensor, quantization = self.graph.tensors[made], schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [grid.scale], [grid.zero_point]
        tensor.type, tensor.quantization = schema.TensorType.INT16, quantization
        self.grids[role] = grid
        return made
