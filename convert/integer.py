"""From the float file and the ranges to the full-integer file: the passes for the target's stream, then the quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calibration.ranges import Grid
from calibration.two_term import with_two_terms
from convert.emit import quantize
from convert.flatbuffer import prune, read_model, write_model
from convert.passes import key_layout, norm_floor, two_term_stream

STREAMS = ("int8", "two_term")


@dataclass(frozen=True, slots=True)
class IntegerFile:
    """The file, the role of each of its tensors by name, and each role's grid."""

    content: bytes
    by_name: dict[str, str]
    grids: dict[str, Grid]


def make_integer(
    float_file: bytes, by_name: Mapping[str, str], grids: Mapping[str, Grid], largest: Mapping[str, float], stream: str
) -> IntegerFile:
    """The full-integer file with a residual stream of that kind; `largest` are the largest values seen of every role."""
    model, roles = read_model(float_file), dict(by_name)
    final = with_two_terms(grids, largest) if stream == "two_term" else dict(grids)
    key_layout.apply(model, roles, final)
    if stream == "two_term":
        two_term_stream.apply(model, roles, final)
    norm_floor.apply(model, roles, final)
    prune(model)
    return IntegerFile(quantize(write_model(model), roles, final), roles, final)
