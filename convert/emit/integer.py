"""From the float file and the ranges to the full-integer file: every step in order, each a pass with one signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.phases import RangeCalibration
from calibration.ranges import Grid
from calibration.two_term import with_two_terms
from convert.emit import quantize
from convert.options import STREAMS
from convert.passes import (
    bias_correction,
    gelu_form,
    int16_stream,
    norm_floor,
    right_operands,
    squared_length,
    two_ranges,
    two_term_stream,
)
from convert.passes.state import Fired, GraphState, Pass
from convert.tflite.flatbuffer import read_model, write_model

MEASURED_STREAMS = (*STREAMS, "int16")  # the last is measured only

PASSES = (
    Pass("right-operands", right_operands.apply),
    Pass("squared-length", squared_length.apply),
    Pass("two-term-stream", two_term_stream.apply),
    Pass("two-ranges", two_ranges.apply),
    Pass("norm-floor", norm_floor.apply),
    Pass("quantize", quantize.apply),  # float before, integers from here on
    Pass("int16-stream", int16_stream.apply),
    Pass("bias-correction", bias_correction.apply),
    Pass("gelu-form", gelu_form.apply),
)


@dataclass(frozen=True, slots=True)
class IntegerFile:
    """The file, the role of each of its tensors by name, each role's grid, and how often each pass fired."""

    content: bytes
    by_name: dict[str, str]
    grids: dict[str, Grid]
    passes: tuple[Fired, ...] = ()


def make_integer(
    float_file: bytes,
    by_name: Mapping[str, str],
    ranges: RangeCalibration,
    stream: str,
    weights: Mapping[str, NDArray[np.int8]] | None = None,
    corrections: Mapping[str, NDArray[np.float32]] | None = None,
    runtime: str = "litert",
) -> IntegerFile:
    """The full-integer file with a residual stream of that kind, for that runtime.

    `weights` are the codes of layers by name (`convert/stages/layers.py`); without them every weight takes its nearest
    code. `corrections` are what heads' results are off by.
    """
    state = GraphState(
        read_model(float_file),
        dict(by_name),
        with_two_terms(ranges.grids, ranges.largest) if stream == "two_term" else dict(ranges.grids),
        stream=stream,
        runtime=runtime,
        largest=ranges.largest,
        weights=weights or {},
        corrections=corrections or {},
    )
    log = []
    for step in PASSES:
        state = step.apply(state)
        log.append(Fired(step.name, state.fired))
    return IntegerFile(write_model(state.model), state.roles, state.grids, tuple(log))


def corrected(integer: IntegerFile, corrections: Mapping[str, NDArray[np.float32]]) -> IntegerFile:
    """The finished file with these corrections in the biases of the layers that give the roles (`convert/calibrate/bias_correction.py`)."""
    given = GraphState(read_model(integer.content), integer.by_name, integer.grids, corrections=corrections)
    state = bias_correction.apply(given)
    passes = tuple(Fired(f.name, state.fired) if f.name == "bias-correction" else f for f in integer.passes)
    return dataclasses.replace(integer, content=write_model(state.model), passes=passes)
