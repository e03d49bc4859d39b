"""The calibration that lies in a model's folder: every phase gives what was found when it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.phases import Calibrated, ExitCalibration, Origin, RangeCalibration, RewriteInputs, WeightCalibration
from calibration.probabilities import any_in_two_terms
from calibration.samples import SampleSet
from calibration.stored import from_bytes
from calibration.stored_exits import StoredError, from_json
from convert.calibrate.exits import Splits
from convert.emit.graph import Graph, integer_file
from convert.emit.integer import IntegerFile
from convert.request import Request
from convert.stages.layers import codes_of
from convert.stages.stage import Stage
from convert.support.errors import CalibrationError
from convert.support.images import load_images
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.label_match import labels_digest

FILE = "calibration.npz"
EXITS = "exits-{}.json"  # for the list of that name


def stored_calibration(request: Request) -> Calibrated:
    """The model folder's calibration. Raises CalibrationError unless it is one for these weights, exits, rewrites and stream."""
    model = request.model
    path = model.folder / FILE if model.folder is not None else None
    if path is None or not path.is_file():
        raise CalibrationError(f"{model.name} has no {FILE}; give images to calibrate on: --images FOLDER|ARCHIVE")
    try:
        stored = from_bytes(path.read_bytes())
    except StoredError as error:
        raise CalibrationError(f"{path}: {error}; calibrate again: --images FOLDER|ARCHIVE") from error
    # A step that measured as not worth taking left nothing in the calibration: it is one for targets whose kernels lack it too.
    unused = set() if any_in_two_terms(stored.ranges.grids) else {"two-term-probabilities"}
    for what, mine, theirs in (
        ("weights", model.weights_sha256, stored.origin.weights_sha256),
        ("exits", request.exits, stored.origin.exits),
        ("steps", _without(unused, request.recipe.names), _without(unused, stored.origin.ladder)),
        ("stream", request.recipe.stream, stored.origin.stream),
    ):
        if mine != theirs:
            raise CalibrationError(
                f"{path} was made for {what} {theirs!s:.60}, not {mine!s:.60}; calibrate again: --images FOLDER|ARCHIVE"
            )
    return _for_labels(stored, path.parent, labels_digest(request.labels.names))


def _for_labels(stored: Calibrated, folder: Path, labels: str) -> Calibrated:
    """With the exits that the folder holds for these labels, else as it is."""
    if stored.exits.labels == labels:
        return stored
    for path in sorted(folder.glob(EXITS.format("*"))):
        try:
            other = from_json(path.read_bytes(), stored)
        except StoredError as error:
            raise CalibrationError(
                f"{path}: {error}; calibrate again: convert calibrate --labels {path.stem.partition('-')[2]} --images FOLDER|ARCHIVE"
            ) from error
        if other.exits.labels == labels:
            return other
    return stored


def _without(unused: set[str], steps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(step for step in steps if step not in unused)


@dataclass(frozen=True, slots=True)
class FolderCalibration:
    """The stored calibration of a request's model; the build is measured on the photographs that the clone ships."""

    request: Request
    stored: Calibrated
    progress: Progress

    @property
    def origin(self) -> Origin:
        return self.stored.origin

    @property
    def measured(self) -> dict[str, Any]:
        return self.stored.measured

    @property
    def reported(self) -> SampleSet | None:
        """The photographs, read anew by each call; None without them."""
        folder = self.request.photographs
        if folder is None or not folder.is_dir():
            return None
        found = load_images([folder], self.request.model.preprocessing, self.progress)
        return found if len(found) else None

    def rewrite_inputs(self) -> RewriteInputs:
        return self.stored.rewrites

    def ranges(self, stages: Sequence[Stage], roles: frozenset[str] | None) -> RangeCalibration:
        return self.stored.ranges

    def codes(self, stages: Sequence[Stage], ranges: RangeCalibration) -> Mapping[str, NDArray[np.int8]]:
        return codes_of(stages, self.stored.weights.rounding)

    def integer(self, graph: Graph, ranges: RangeCalibration) -> tuple[IntegerFile, WeightCalibration]:
        return integer_file(
            graph, ranges, self.stored.weights, self.origin.stream, self.request.profile.runtime
        ), self.stored.weights

    def exits(self, graph: Graph, integer: IntegerFile, bank: LabelBank) -> tuple[ExitCalibration, Splits | None]:
        return self.stored.exits, None
