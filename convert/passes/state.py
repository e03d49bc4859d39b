"""What a pass takes and gives: the file as the schema's objects, what is known of its tensors, and what passes are to know beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid


@dataclass(frozen=True, slots=True)
class GraphState:
    """A file on its way from float to integer. A pass may change `model`, `roles` and `grids` in place: the state it was given is used up.

    `fired` says how often the pass that gave this state has found what it looks for.
    """

    model: Any  # the schema's ModelT
    roles: dict[str, str]  # the role of each computed tensor, by its name
    grids: dict[str, Grid]  # the grid of each role
    stream: str = "int8"
    runtime: str = "litert"  # what will run the file
    largest: Mapping[str, float] = field(default_factory=dict)  # the largest absolute value seen of each role
    weights: Mapping[str, NDArray[np.int8]] = field(
        default_factory=dict
    )  # codes of layers whose weights do not all take their nearest
    corrections: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # what heads' results are off by on average
    exact: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # the float file's constants by name, once it was quantized
    fired: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """A named step of the file's way."""

    name: str
    apply: Callable[[GraphState], GraphState]


@dataclass(frozen=True, slots=True)
class Fired:
    """One line of the passes' log: the step, and how often it found what it looks for."""

    name: str
    count: int
