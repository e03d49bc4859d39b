"""From the float file and the ranges to the full-integer file: the passes for the target's stream, then the quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.two_term import with_two_terms
from convert.emit.quantize import quantize
from convert.passes import bias_correction, int16_stream, key_layout, norm_floor, squared_length, two_ranges, two_term_stream
from convert.tflite.flatbuffer import constants, prune, read_model, write_model

STREAMS = ("int8", "two_term")  # what a bundle may have
MEASURED_STREAMS = (*STREAMS, "int16")


@dataclass(frozen=True, slots=True)
class IntegerFile:
    """The file, the role of each of its tensors by name, and each role's grid."""

    content: bytes
    by_name: dict[str, str]
    grids: dict[str, Grid]


def make_integer(
    float_file: bytes,
    by_name: Mapping[str, str],
    grids: Mapping[str, Grid],
    largest: Mapping[str, float],
    stream: str,
    weights: Mapping[str, NDArray[np.int8]] | None = None,
) -> IntegerFile:
    """The full-integer file with a residual stream of that kind; `largest` are the largest values seen of every role.

    `weights` are the codes of layers by name (`convert/stages/layers.py`); without them every weight takes its nearest code.
    """
    model, roles = read_model(float_file), dict(by_name)
    final = with_two_terms(grids, largest) if stream == "two_term" else dict(grids)
    key_layout.apply(model, roles, final)
    squared_length.apply(model, roles, final)
    if stream == "two_term":
        two_term_stream.apply(model, roles, final)
    two_ranges.apply(model, roles, final)
    norm_floor.apply(model, roles, final)
    prune(model)
    content = quantize(write_model(model), roles, final, weights)
    if stream == "int16":
        integer = read_model(content)
        int16_stream.apply(integer, roles, final, largest, constants(model))
        prune(integer)
        content = write_model(integer)
    return IntegerFile(content, roles, final)


def corrected(integer: IntegerFile, corrections: Mapping[str, NDArray[np.float32]]) -> IntegerFile:
    """The file with these corrections in the biases of the layers that give the roles (`convert/calibrate/bias_correction.py`)."""
    if not corrections:
        return integer
    model = read_model(integer.content)
    bias_correction.apply(model, integer.by_name, corrections)
    prune(model)
    return IntegerFile(write_model(model), integer.by_name, integer.grids)
