"""The calibration of a build: read from the model folder, or fitted on images; and the ranges alone for those who only measure."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.samples import SampleSet
from calibration.stored import Stored, StoredError, from_bytes
from calibration.two_term import STREAM
from convert import fit, parity
from convert.errors import CalibrationError, UsageError
from convert.gate_graph import add_gates
from convert.graph import Graph, integer_file, rewritten_stages
from convert.models import ClipModel
from convert.pack import describe
from convert.parity import cascade_of
from convert.progress import Progress
from convert.request import Request
from convert.rewrites import LADDER, rewrite
from convert.rewrites.key_value_centring import mean_roles
from convert.stages import Stage, build_stages, default_exits, split
from tflite_runtime_app.fitted import NEVER, labels_digest
from tflite_runtime_app.labels import LabelBank


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
    names = tuple(step.name for step in request.ladder)
    for what, mine, theirs in (
        ("weights", model.weights_sha256, stored.weights_sha256),
        ("exits", exits, stored.exits),
        ("rewrites", names, stored.ladder),
        ("stream", request.stream, stored.stream),
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
    grids: dict[str, Grid],
    largest: dict[str, float],
    bank: LabelBank,
) -> Stored:
    """The calibration so far: ranges, no gates yet."""
    return Stored(
        weights_sha256=request.model.weights_sha256,
        exits=exits,
        ladder=tuple(step.name for step in request.ladder),
        stream=request.stream,
        digest=hashlib.sha256((shares.ranges.digest + shares.gates.digest + shares.thresholds.digest).encode()).hexdigest(),
        images=range_images,
        observer=request.observer,
        means=means,
        grids=grids,
        largest=largest,
        gates=(),
        thresholds=(),
        none_threshold=-1.0,
        measured={},
        labels=labels_digest(bank.names),
    )


def fit_gates(request: Request, graph: Graph, bank: LabelBank, stored: Stored, shares: fit.Shares, progress: Progress) -> Stored:
    """The calibration with gates and thresholds for the integer file that its ranges give."""
    integer = integer_file(graph, stored)
    progress.step("first full-integer file, to fit the gates on")
    bare = describe(integer.content, graph.stages, request.model, stored, request.profile.name, {})
    judged = []
    for part in (shares.gates, shares.thresholds):
        if not len(part):
            return stored
        reference = parity.float_embeddings(request.model, part.images, progress)
        labels = request.labels.indices(part.folders)
        judged.append(fit.judge(cascade_of(integer.content, bare), bare, bank, part, reference, labels, progress))
    gates = fit.first_gates(judged[0].found)
    gated = add_gates(integer.content, gates)
    closed = dataclasses.replace(stored, gates=gates, thresholds=(NEVER,) * len(gates))
    manifest = describe(gated, graph.stages, request.model, closed, request.profile.name, {})
    chosen, none = fit.thresholds(cascade_of(gated, manifest), manifest, *judged)
    progress.step(f"thresholds {list(chosen.values)}: {chosen.loss * 100:+.2f} points lost on {chosen.images} held-apart images")
    return dataclasses.replace(closed, thresholds=chosen.values, none_threshold=none)


def exits_of(request: Request) -> tuple[int, ...]:
    """The exits asked for, or the default ones. Raises UsageError for impossible ones."""
    blocks = len(request.model.tower().blocks)
    exits = request.exits or default_exits(blocks)
    try:
        split(blocks, exits)
    except ValueError as error:
        raise UsageError(f"--exits: {error}") from error
    return exits


def centring_means(
    model: ClipModel, exits: tuple[int, ...], images: NDArray[np.int8], progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Means of keys and values over the images, from the tower before any rewrite but the input's; they are the same after all others."""
    plain = build_stages(rewrite(model.tower(), {}, LADDER[:1])[0], exits)
    return fit.channel_means(plain, images, frozenset(mean_roles(plain[-1].part.blocks_done)), progress)


def prepare_ranges(request: Request, images: SampleSet | None, progress: Progress) -> tuple[tuple[Stage, ...], dict[str, Grid]]:
    """The rewritten float stages and their grids, from images or the model folder; a stream in two terms has none, it is near exact."""
    exits = exits_of(request)
    if images is None:
        stored = stored_calibration(request, exits)
        means, grids = stored.means, stored.grids
        stages = rewritten_stages(request.model, request.ladder, exits, means)[0]
    else:
        chosen = fit.range_images(fit.share_out(images).ranges.images, request.seed)
        means = centring_means(request.model, exits, chosen, progress)
        stages = rewritten_stages(request.model, request.ladder, exits, means)[0]
        grids = fit.ranges(stages, chosen, None, request.observer, progress)[0]
    if request.stream == "two_term":
        grids = {role: grid for role, grid in grids.items() if not STREAM.fullmatch(role)}
    return stages, grids
