"""The exact rewrites of the float tower, in the order in which they are applied; adding one is adding a file and naming it here.

A rewrite leaves the embedding as it is (to 1e-4 of its norm) and says why when it must not fire. What each does stands in its file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.phases import RewriteInputs
from convert.model.tower import Tower
from convert.rewrites import (
    attention_scale,
    centring,
    head_rotation,
    input_normalisation,
    key_value_centring,
    layer_scale,
    migration,
    norm_affine,
    rotation,
    unit_length,
)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A named step: `apply` gives the rewritten tower, or the reason (text) why it must not fire on this one."""

    name: str
    apply: Callable[[Tower, RewriteInputs], Tower | str]


LADDER = (
    Rewrite("input-normalisation", input_normalisation.apply),
    Rewrite("attention-scale", attention_scale.apply),
    Rewrite("norm-affine", norm_affine.apply),
    Rewrite("layer-scale", layer_scale.apply),
    Rewrite("key-value-centring", key_value_centring.apply),
    Rewrite("centring", centring.apply),
    Rewrite("unit-length", unit_length.apply),
    Rewrite("rotation", rotation.apply),
    Rewrite("migration", migration.apply),
    Rewrite("head-rotation", head_rotation.apply),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the rewrite log: the step, and why it did not fire if it did not."""

    name: str
    refusal: str | None = None


def rewrite(tower: Tower, inputs: RewriteInputs, ladder: tuple[Rewrite, ...] = LADDER) -> tuple[Tower, tuple[Entry, ...]]:
    """The tower after every step of the ladder that fires, and the log of all of them."""
    log = []
    for step in ladder:
        result = step.apply(tower, inputs)
        if isinstance(result, Tower):
            tower = result
        log.append(Entry(step.name, None if isinstance(result, Tower) else result))
    return tower, tuple(log)
