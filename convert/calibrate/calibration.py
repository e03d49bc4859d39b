"""Where a build's numbers come from: fitted to images, or read from the model's folder; both give them phase by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.phases import ExitCalibration, Origin, RangeCalibration, RewriteInputs, WeightCalibration
from calibration.samples import SampleSet
from convert.calibrate.exits import Splits
from convert.calibrate.from_folder import FolderCalibration, stored_calibration
from convert.calibrate.from_images import ImageCalibration, read_shares
from convert.emit.graph import Graph
from convert.emit.integer import IntegerFile
from convert.request import Request
from convert.stages.stage import Stage
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank

Codes = Mapping[str, NDArray[np.int8]]  # of the layers whose weights do not all take their nearest


class Calibration(Protocol):
    """One calibration; its phases are asked in this order, each with what those before it gave."""

    @property
    def origin(self) -> Origin:
        """What it belongs to, and what it rests on."""

    @property
    def measured(self) -> dict[str, Any]:
        """Figures of an earlier day, on held-apart images; empty where they are yet to be measured."""

    @property
    def reported(self) -> SampleSet | None:
        """The images to measure the build on; nothing was fitted to them."""

    def rewrite_inputs(self) -> RewriteInputs:
        """What the rewrites must know."""

    def ranges(self, stages: Sequence[Stage], roles: frozenset[str] | None) -> RangeCalibration:
        """The grids of these roles, of all without them."""

    def codes(self, stages: Sequence[Stage], ranges: RangeCalibration) -> Codes:
        """The codes of rounded layers; empty where weights take their nearest."""

    def integer(self, graph: Graph, ranges: RangeCalibration) -> tuple[IntegerFile, WeightCalibration]:
        """The integer file without gates, and how its layers depart from the plain one."""

    def exits(self, graph: Graph, integer: IntegerFile, bank: LabelBank) -> tuple[ExitCalibration, Splits | None]:
        """Gates, policy and thresholds for the file and these labels, and the images that they were fitted to, where that was now."""


def calibration_of(request: Request, progress: Progress) -> Calibration:
    """The calibration that the request means: on its images where it has some, else the model folder's. Raises CalibrationError."""
    if not request.images:
        return FolderCalibration(request, stored_calibration(request), progress)
    return ImageCalibration(request, read_shares(request, progress), progress)
