"""The simulated integer network of a request: what is measured where making files would take too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from convert.calibrate.calibration import Calibration
from convert.calibrate.observers import simulated
from convert.request import Request
from convert.stages.rewritten import rewritten_stages
from convert.stages.stage import Stage


@dataclass(frozen=True, slots=True)
class Simulation:
    """The rewritten float stages, the grids that count in a simulation, and the codes of rounded layers."""

    stages: tuple[Stage, ...]
    grids: dict[str, Grid]
    codes: Mapping[str, NDArray[np.int8]]


def simulation_of(request: Request, calibration: Calibration) -> Simulation:
    """The simulation of what a build of the request would make, without any file being made."""
    inputs = calibration.rewrite_inputs()
    stages, _ = rewritten_stages(request.model, request.recipe.rewrites, request.exits, inputs)
    ranges = calibration.ranges(stages, None)
    return Simulation(stages, simulated(ranges.grids, request.recipe.stream), calibration.codes(stages, ranges))
