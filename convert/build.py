"""From a request to a bundle and its report: the phases of a build, each a function of another module, in their order."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass

import torch

from calibration.phases import Calibrated
from convert.calibrate.calibration import calibration_of
from convert.emit.finished import Finished, finish
from convert.emit.graph import make_graph
from convert.measure.evidence import Evidence, measure_build
from convert.model.background import background_of
from convert.model.labels import embed_labels
from convert.report.build_report import BuildReport, build_report
from convert.request import Request
from convert.support.progress import Progress
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.file import BACKGROUND, LABELS, REMEMBERED, REPORT, pack
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.inference.background import NO_MARGIN


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """What a build gives: the flatbuffer and the bundle's parts, the calibration it rests on, and the report."""

    flatbuffer: bytes
    float_file: bytes  # the same network in float32, with the same stages
    manifest: Manifest
    bank: LabelBank
    background: LabelBank | None  # names of other things
    calibrated: Calibrated
    report: BuildReport


def build(request: Request, progress: Progress) -> Build:
    """The bundle for the request, audited and measured. Raises a ConvertError with the remedy when it cannot be made."""
    start = time.monotonic()
    torch.manual_seed(request.seed)
    bank = embed_labels(request.labels, request.model)
    progress.step(f"{len(bank.names)} labels embedded")
    calibration = calibration_of(request, progress)
    inputs = calibration.rewrite_inputs()
    graph = make_graph(request.model, request.recipe.rewrites, request.exits, inputs, request.seed, progress)
    ranges = calibration.ranges(graph.stages, graph.roles)
    integer, weights = calibration.integer(graph, ranges)
    exits, splits = calibration.exits(graph, integer, bank)
    calibrated = Calibrated(calibration.origin, inputs, ranges, weights, exits, calibration.measured)
    finished = finish(request, graph, integer, calibrated, bank, progress)
    images = calibration.reported
    evidence = measure_build(request, graph, finished, images, splits, progress)
    calibrated = _with_figures(calibrated, evidence) if request.images else calibrated
    finished = _with_limits(finished, calibrated, evidence)
    seconds = time.monotonic() - start
    report = build_report(request, graph, finished, calibrated, evidence, images, seconds)
    background = background_of(request.model) if calibrated.exits.none_margin < NO_MARGIN else None
    return Build(finished.flatbuffer, graph.float_file, finished.manifest, bank, background, calibrated, report)


def _with_figures(calibrated: Calibrated, evidence: Evidence) -> Calibrated:
    """The calibration with what was measured of it on held-apart images, so that a later build without images can show it."""
    if evidence.parity is None:
        return calibrated
    exits = dataclasses.replace(calibrated.exits, evidence={**calibrated.exits.evidence, "leaving": evidence.leaving})
    return dataclasses.replace(calibrated, exits=exits, measured={**evidence.parity.to_dict(), "cosines": []})


def _with_limits(finished: Finished, calibrated: Calibrated, evidence: Evidence) -> Finished:
    """The file whose manifest says what `convert verify` holds it to: no more than twice the loss that was measured."""
    measured = calibrated.measured or (evidence.parity.to_dict() if evidence.parity else {})
    limits: dict[str, float] = {
        key: round(max(0.0, 1 - 2 * (1 - float(measured[key]))), 4) for key in ("cosine_mean", "agreement") if key in measured
    }
    return dataclasses.replace(finished, manifest=dataclasses.replace(finished.manifest, limits=limits))


def bundle_bytes(result: Build) -> tuple[bytes, Manifest]:
    """The bundle as it is written, and its manifest with all digests."""
    members = {LABELS: labels_to_bytes(result.bank), REPORT: json.dumps(result.report.to_dict()).encode()}
    if result.background is not None:
        members[BACKGROUND] = labels_to_bytes(result.background)
    remembered = result.calibrated.exits.remembered
    if remembered is not None:
        members[REMEMBERED] = calibration_outputs.to_bytes(remembered)
    return pack(result.flatbuffer, result.manifest, members)
