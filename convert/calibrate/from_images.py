"""A calibration fitted to images: ranges, weights and exits, each on a share of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.families import DEFAULT
from calibration.phases import ExitCalibration, Origin, RangeCalibration, RewriteInputs, WeightCalibration
from calibration.samples import SampleSet, left_out
from convert.calibrate import channels
from convert.calibrate.bias_correction import head_errors
from convert.calibrate.exits import Splits, fit_exits
from convert.calibrate.images import Shares, range_images, rounding_images, share_out
from convert.calibrate.probabilities import where_it_pays
from convert.calibrate.ranges import range_calibration
from convert.calibrate.rotation_seed import quietest
from convert.calibrate.rounding import rounded
from convert.emit.graph import Graph, integer_file
from convert.emit.integer import IntegerFile, corrected
from convert.emit.manifest import bare_cascade
from convert.model.labels import named_places
from convert.request import Request
from convert.stages.layers import steps_off
from convert.stages.stage import Stage
from convert.support.errors import CalibrationError
from convert.support.images import load_images
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.risk import least_images

FEWEST = 5  # images of a calibration
LEAST_IMAGES = 64  # of the ranges; from fewer, weights and biases would learn what is the images' own: the noise of 1 / sqrt(n)


def read_shares(request: Request, progress: Progress) -> Shares:
    """The request's images, decoded and shared out; what so few can show is told. Raises CalibrationError when that is nothing."""
    found = load_images(request.images, request.model.preprocessing, progress)
    distinct = len(found.distinct())
    if distinct < FEWEST:
        equal = f", {distinct} of them distinct" if distinct < len(found) else ""
        broken = (
            f"{len(found.skipped)} broken, the first: {found.skipped[0]}"
            if found.skipped
            else left_out(request.images) or "0 broken"
        )
        raise CalibrationError(
            f"--images holds {len(found)} readable images{equal} ({broken}); calibration needs at least {FEWEST} and should have 500"
        )
    progress.step(f"{len(found)} images read, {len(found.skipped)} skipped")
    known = named_places(request.labels, found.folders, progress)
    shares = share_out(found, request.seed, known, request.in_order)
    needed = least_images(request.aim.alpha, request.aim.delta)
    if request.policy == DEFAULT and len(shares.thresholds) < needed:
        progress.step(
            f"every image will go to full depth: {len(shares.thresholds)} distinct images for the thresholds cannot show that exits "
            f"harm at most {request.aim.alpha:.1%}, {needed} are the least; give {5 * needed} or more in all, or allow more by --risk"
        )
    return shares


@dataclass(frozen=True, slots=True)
class ImageCalibration:
    """The calibration of a request on its shares of the images."""

    request: Request
    shares: Shares
    progress: Progress

    @property
    def origin(self) -> Origin:
        recipe, parts = self.request.recipe, (self.shares.ranges, self.shares.gates, self.shares.thresholds)
        return Origin(
            weights_sha256=self.request.model.weights_sha256,
            exits=self.request.exits,
            ladder=recipe.names,
            stream=recipe.stream,
            digest=hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest(),
            images=len(self._images),
            observer=recipe.observer,
        )

    @property
    def measured(self) -> dict[str, Any]:
        return {}

    @property
    def reported(self) -> SampleSet | None:
        return self.shares.report

    def rewrite_inputs(self) -> RewriteInputs:
        """Means and maxima of channels, and the quietest rotation's seed."""
        model, recipe, exits = self.request.model, self.request.recipe, self.request.exits
        found = channels.measure(model.tower(), exits, self._images, self.progress)
        return quietest(model, recipe.rewrites, exits, found, self._images, recipe.stream, self.progress)

    def ranges(self, stages: Sequence[Stage], roles: frozenset[str] | None) -> RangeCalibration:
        recipe = self.request.recipe
        found = range_calibration(stages, self._images, roles, recipe.observer, recipe.stream, self.progress)
        return where_it_pays(stages, found, self._images, recipe.stream, self.progress) if recipe.probabilities else found

    def codes(self, stages: Sequence[Stage], ranges: RangeCalibration) -> Mapping[str, NDArray[np.int8]]:
        """GPTQ's codes where the recipe asks for them and there are images enough."""
        if not (self.request.recipe.rounding and self._enough):
            return {}
        return rounded(stages, ranges.grids, rounding_images(self._images), self.progress)

    def integer(self, graph: Graph, ranges: RangeCalibration) -> tuple[IntegerFile, WeightCalibration]:
        """The file with rounded weights and corrected biases, both only where the recipe asks for them and there are images enough."""
        recipe, profile = self.request.recipe, self.request.profile
        if not self._enough and (recipe.rounding or recipe.correction):
            self.progress.step(
                f"weights and biases stay as they are: {len(self._images)} images for the ranges, rounding wants {LEAST_IMAGES}"
            )
        rounding = steps_off(graph.stages, self.codes(graph.stages, ranges))
        plain = integer_file(graph, ranges, WeightCalibration(rounding), recipe.stream, profile.runtime)
        self.progress.step("first full-integer file")
        if not (recipe.correction and self._enough):
            return plain, WeightCalibration(rounding)
        cascade = bare_cascade(plain.content, graph.stages, self.request.model, profile.name)
        errors = head_errors(cascade, graph.stages, self._images, self.progress)
        return corrected(plain, errors), WeightCalibration(rounding, errors)

    def exits(self, graph: Graph, integer: IntegerFile, bank: LabelBank) -> tuple[ExitCalibration, Splits | None]:
        return fit_exits(self.request, graph, integer, bank, self.shares, self.progress)

    @property
    def _images(self) -> NDArray[np.int8]:
        """Those of the ranges' share that are looked at."""
        return range_images(self.shares.ranges.images, self.request.seed)

    @property
    def _enough(self) -> bool:
        return len(self._images) >= LEAST_IMAGES
