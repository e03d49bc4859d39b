"""From a model and a target to a bundle and its report: each step is a function of another module, here is their order."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from calibration.samples import SampleSet, load, samples
from calibration.stored import Stored
from convert.calibrate import images as fit
from convert.calibrate.calibration import channels_of, exits_of, first_file, stored_calibration, unfitted
from convert.calibrate.exits import Splits, fit_exits
from convert.emit.gates import add_gates
from convert.emit.graph import Graph, integer_file, make_graph
from convert.emit.integer import IntegerFile
from convert.emit.manifest import describe
from convert.measure import curves, noise, parity
from convert.measure.parity import cascade_of
from convert.measure.study import study
from convert.model.labels import embed_labels, named_places
from convert.report.data import report_data
from convert.request import Request
from convert.stages.float_replay import float_replay
from convert.support.errors import CalibrationError
from convert.support.images import load_pictures
from convert.support.progress import Progress
from convert.tflite.audit import audit
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.file import REMEMBERED, REPORT, pack
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.label_match import fits
from tflite_runtime_app.exits.refit import for_other_labels, offsets_of
from tflite_runtime_app.exits.replay import answers, observe, replay


@dataclass(frozen=True, slots=True)
class Build:
    """What a build gives: the flatbuffer and the bundle's parts, the calibration it rests on, and the report's data.

    `float_file` is the same network in float32, with the same stages.
    """

    flatbuffer: bytes
    float_file: bytes
    manifest: Manifest
    bank: LabelBank
    stored: Stored
    report: dict[str, Any]


def build(request: Request, progress: Progress) -> Build:
    """The bundle for the request, audited and measured. Raises a ConvertError with the remedy when it cannot be made."""
    start = time.monotonic()
    torch.manual_seed(request.seed)
    exits = exits_of(request)
    bank = embed_labels(request.labels, request.model)
    progress.step(f"{len(bank.names)} labels embedded")
    if request.images:
        everything = load_pictures(request.images, request.model.preprocessing, progress)
        _require(everything)
        progress.step(f"{len(everything)} images read, {len(everything.skipped)} skipped")
        shares = fit.share_out(everything, named_places(request.labels, everything.folders, progress))
        chosen = fit.range_images(shares.ranges.images, request.seed)
        means = channels_of(request, exits, chosen, progress)
        graph = make_graph(request.model, request.recipe.rewrites, exits, means, request.seed, progress, request.profile.runtime)
        ranges = fit.ranges(graph.stages, chosen, graph.roles, request.recipe.observer, request.recipe.stream, progress)
        bare = unfitted(request, exits, shares, len(chosen), means, ranges, bank)
        stored, integer = first_file(request, graph, chosen, bare, progress)
        stored, splits = fit_exits(request, graph, integer, bank, stored, shares, progress)
        reported: SampleSet | None = shares.report
    else:
        stored = stored_calibration(request, exits)
        graph = make_graph(
            request.model, request.recipe.rewrites, exits, stored.means, request.seed, progress, request.profile.runtime
        )
        integer, splits = integer_file(graph, stored), None
        reported = _photographs(request)
    flatbuffer = add_gates(integer.content, stored.gates)
    audited = audit(flatbuffer, integer.by_name, integer.grids, request.profile.forbidden)
    progress.step("full-integer file written and audited")
    manifest = describe(flatbuffer, graph.stages, request.model, stored, request.profile.name, {})
    fitted = fits(manifest, bank)
    usable, told = for_other_labels(cascade_of(flatbuffer, manifest), manifest, stored.remembered, bank)
    if told:
        progress.step(told)
    if stored.remembered is not None:
        manifest = usable  # fitted for these labels; where nothing is remembered the board says that it is for others
    measured, noisy, leaving = _measure(request, graph, integer, flatbuffer, usable, bank, reported, splits, progress)
    if request.images and measured is not None:
        kept = {**stored.evidence, "leaving": leaving}
        stored = dataclasses.replace(stored, measured={**measured.to_dict(), "cosines": []}, evidence=kept)
    manifest = dataclasses.replace(manifest, limits=_limits(stored.measured or (measured.to_dict() if measured else {})))
    recorded = stored.measured if not request.images and fitted else {}
    seconds = time.monotonic() - start
    report = report_data(request, graph, manifest, stored, audited, measured, noisy, reported, recorded, len(flatbuffer), seconds)
    return Build(flatbuffer, graph.float_file, manifest, bank, stored, report)


def _require(images: SampleSet) -> None:
    if len(images) < 5:
        raise CalibrationError(
            f"--images holds {len(images)} readable pictures ({len(images.skipped)} broken); "
            "calibration needs at least 5 and should have 500"
        )


def _photographs(request: Request) -> SampleSet | None:
    """The photographs that the clone ships, to measure on when no images are given."""
    if request.photographs is None or not request.photographs.is_dir():
        return None
    found = load(samples([request.photographs]), request.model.preprocessing)
    return found if len(found) else None


def _measure(
    request: Request,
    graph: Graph,
    integer: IntegerFile,
    flatbuffer: bytes,
    manifest: Manifest,
    bank: LabelBank,
    reported: SampleSet | None,
    splits: Splits | None,
    progress: Progress,
) -> tuple[parity.Parity | None, noise.Noise | None, dict[str, Any]]:
    """Parity with open_clip, noise per block, and what leaving early does, on images that nothing was fitted to."""
    if reported is None:
        return None, None, {}
    floats = float_replay(graph.stages, reported.images, progress)
    reference = parity.reference_of(request.model, reported.images, floats.embeddings[:, -1], progress)
    labels: Sequence[int] | None = request.labels.indices(reported.folders)
    cascade = cascade_of(flatbuffer, manifest)
    found = replay(cascade, progress.over(reported.images, len(reported), "integer file"))
    measured = parity.compare(found, cascade, manifest, bank, reference, labels)
    some = reported.images[: noise.noise_images(graph.stages)]
    noisy = noise.measure(
        flatbuffer, graph.stages, integer.by_name, integer.grids, progress.over(some, len(some), "noise per block")
    )
    if splits is None or not manifest.gates:
        return measured, noisy, {}
    wanted = None if labels is None else np.array(labels, np.int64)
    leaving = study(found, floats, wanted, cascade, manifest, bank)
    seen = observe(answers(found, bank, manifest.logit_scale), cascade, manifest, len(bank.names), wanted)
    rows = curves.compared(seen, splits.learned, splits.held, offsets_of(manifest), leaving["ms"], request.aim)
    brief = {key: value for key, value in leaving.items() if key not in ("left", "rescued", "harmed", "classes")}
    return measured, noisy, {**brief, "policies": [dataclasses.asdict(row) for row in rows]}


def _limits(measured: dict[str, Any]) -> dict[str, float]:
    """What `convert verify` holds a file to: no more than twice the loss that was measured here."""
    if not measured:
        return {}
    return {key: round(max(0.0, 1 - 2 * (1 - float(measured[key]))), 4) for key in ("cosine_mean", "agreement")}


def bundle_bytes(result: Build) -> tuple[bytes, Manifest]:
    """The bundle as it is written, and its manifest with all digests."""
    import json

    members = {"labels.npz": labels_to_bytes(result.bank), REPORT: json.dumps(result.report).encode()}
    if result.stored.remembered is not None:
        members[REMEMBERED] = calibration_outputs.to_bytes(result.stored.remembered)
    return pack(result.flatbuffer, result.manifest, members)
