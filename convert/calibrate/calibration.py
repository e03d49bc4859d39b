"""The calibration of a build up to its first integer file: read from the model folder or fitted on images; or ranges alone, to measure."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.samples import SampleSet
from calibration.stored import Stored, StoredError, from_bytes
from convert.calibrate import channels
from convert.calibrate import images as fit
from convert.calibrate.bias_correction import head_errors
from convert.calibrate.observers import simulated
from convert.calibrate.rotation_seed import quietest
from convert.emit.graph import Graph, integer_file, rewritten_stages
from convert.emit.integer import IntegerFile, corrected
from convert.emit.manifest import describe
from convert.measure.parity import cascade_of
from convert.request import Request
from convert.stages.layers import codes_of, rounded, steps_off
from convert.stages.stage import Stage, default_exits, split
from convert.support.errors import CalibrationError, UsageError
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.label_match import labels_digest

LEAST_IMAGES = 64


def stored_calibration(request: Request, exits: tuple[int, ...]) -> Stored:
    """The model folder's calibration, if it is one for these weights, exits, rewrites and stream."""
    model = request.model
    path = model.folder / "calibration.npz" if model.folder is not None else None
    if path is None or not path.is_file():
        raise CalibrationError(f"{model.name} has no calibration.npz; give pictures to calibrate on: --images FOLDER|TAR")
    try:
        stored = from_bytes(path.read_bytes())
    except StoredError as error:
        raise CalibrationError(f"{path}: {error}; calibrate again: --images FOLDER|TAR") from error
    for what, mine, theirs in (
        ("weights", model.weights_sha256, stored.weights_sha256),
        ("exits", exits, stored.exits),
        ("steps", request.recipe.names, stored.ladder),
        ("stream", request.recipe.stream, stored.stream),
    ):
        if mine != theirs:
            raise CalibrationError(
                f"{path} was made for {what} {theirs!s:.60}, not {mine!s:.60}; calibrate again: --images FOLDER|TAR"
            )
    return stored


def unfitted(
    request: Request,
    exits: tuple[int, ...],
    shares: fit.Shares,
    range_images: int,
    means: dict[str, NDArray[np.float32]],
    ranges: fit.Ranges,
    bank: LabelBank,
) -> Stored:
    """The calibration so far: ranges, no gates yet."""
    return Stored(
        weights_sha256=request.model.weights_sha256,
        exits=exits,
        ladder=request.recipe.names,
        stream=request.recipe.stream,
        digest=hashlib.sha256((shares.ranges.digest + shares.gates.digest + shares.thresholds.digest).encode()).hexdigest(),
        images=range_images,
        observer=request.recipe.observer,
        means=means,
        grids=ranges.grids,
        largest=ranges.largest,
        gates=(),
        thresholds=(),
        none_threshold=-1.0,
        measured={},
        labels=labels_digest(bank.names),
        observers=ranges.observers,
    )


def first_file(
    request: Request, graph: Graph, images: NDArray[np.int8], stored: Stored, progress: Progress
) -> tuple[Stored, IntegerFile]:
    """The first integer file, and the calibration with its rounded weights and corrected biases.

    Both only where the recipe asks for them and there are images enough.

    From a few images both would learn what is the images' own: a mean over n of them is off by the noise of one over sqrt(n).
    """
    enough = len(images) >= LEAST_IMAGES
    if not enough and (request.recipe.rounding or request.recipe.correction):
        progress.step(
            f"weights and biases stay as they are: {len(images)} pictures for the ranges, rounding wants {LEAST_IMAGES}"
        )
    if enough and request.recipe.rounding:
        codes = rounded(graph.stages, stored.grids, fit.rounding_images(images), progress)
        stored = dataclasses.replace(stored, rounding=steps_off(graph.stages, codes))
    integer = integer_file(graph, stored)
    progress.step("first full-integer file")
    if enough and request.recipe.correction:
        plain = describe(integer.content, graph.stages, request.model, stored, request.profile.name, {})
        errors = head_errors(cascade_of(integer.content, plain), graph.stages, images, progress)
        stored, integer = dataclasses.replace(stored, corrections=errors), corrected(integer, errors)
    return stored, integer


def exits_of(request: Request) -> tuple[int, ...]:
    """The exits asked for, or the default ones. Raises UsageError for impossible ones."""
    blocks = len(request.model.tower().blocks)
    exits = request.exits or tuple(sorted(request.model.heads)) or default_exits(blocks)
    try:
        split(blocks, exits)
    except ValueError as error:
        raise UsageError(f"--exits: {error}") from error
    return exits


def channels_of(
    request: Request, exits: tuple[int, ...], images: NDArray[np.int8], progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """What the rewrites must know of single channels, and the quietest rotation's seed."""
    found = channels.measure(request.model.tower(), exits, images, progress)
    return quietest(request.model, request.recipe.rewrites, exits, found, images, request.recipe.stream, progress)


def prepare_simulation(
    request: Request, images: SampleSet | None, progress: Progress
) -> tuple[tuple[Stage, ...], dict[str, Grid], dict[str, NDArray[np.int8]]]:
    """The rewritten float stages, the grids that count in a simulation, and the rounded weights, from images or the model folder."""
    exits = exits_of(request)
    if images is None:
        stored = stored_calibration(request, exits)
        stages = rewritten_stages(request.model, request.recipe.rewrites, exits, stored.means)[0]
        return stages, simulated(stored.grids, request.recipe.stream), codes_of(stages, stored.rounding)
    chosen = fit.range_images(fit.share_out(images).ranges.images, request.seed)
    means = channels_of(request, exits, chosen, progress)
    stages = rewritten_stages(request.model, request.recipe.rewrites, exits, means)[0]
    grids = fit.ranges(stages, chosen, None, request.recipe.observer, request.recipe.stream, progress).grids
    codes = rounded(stages, grids, fit.rounding_images(chosen), progress) if request.recipe.rounding else {}
    return stages, simulated(grids, request.recipe.stream), codes
