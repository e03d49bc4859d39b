"""Gates, policy and thresholds fitted to the integer file, on two shares of the images (`gates_and_policy.py` fits them)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from calibration import inr
from calibration.phases import Calibrated, ExitCalibration
from convert.calibrate.gates_and_policy import Part, fit_gates, fit_policy, gate_report, none_margin, none_threshold, part_of
from convert.calibrate.images import Shares
from convert.emit.gates import add_gates
from convert.emit.graph import Graph
from convert.emit.integer import IntegerFile
from convert.emit.manifest import bare_cascade, cascade_of, describe
from convert.model.background import background_of
from convert.request import Request
from convert.stages.float_replay import float_replay
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.label_match import labels_digest
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.refit import facts
from tflite_runtime_app.exits.replay import Replay, observe, remember, replay
from tflite_runtime_app.exits.thresholds import NEVER
from tflite_runtime_app.policies.spec import spec_of


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The images that gates and strength were learned on, and those that the policy was chosen on."""

    learned: Observed
    held: Observed


def fit_exits(
    request: Request, graph: Graph, integer: IntegerFile, bank: LabelBank, shares: Shares, progress: Progress
) -> tuple[ExitCalibration, Splits | None]:
    """Gates, policy and thresholds for the integer file, and what they were fitted to; none of them without images for both shares."""
    closed = ExitCalibration(labels=labels_digest(bank.names))
    if not len(shares.gates) or not len(shares.thresholds):
        return closed, None
    parts, floats = _parts(request, graph, integer, bank, shares, progress)
    gates, compared = fit_gates(parts[0], request.gate, request.seed)
    closed = dataclasses.replace(closed, gates=gates, thresholds=(NEVER,) * len(gates))
    content = add_gates(integer.content, gates)
    manifest = describe(content, graph.stages, request.model, Calibrated(exits=closed), request.profile.name)
    cascade = cascade_of(content, manifest)
    learned, held = (observe(part.answers, cascade, manifest, len(bank.names), part.wanted) for part in parts)
    ratios = inr.information_to_noise(floats[0].embeddings, parts[0].found.embeddings, bank.vectors)
    offsets, choice, noise = fit_policy(learned, held, ratios[:-1], request.policy, request.aim)
    left = held.leaves(choice.policy)
    spec, thresholds = spec_of(choice.policy, len(gates), offsets)
    progress.step(
        f"policy {spec.name}: {choice.share * 100:.1f} % of the MACs, {choice.loss * 100:+.2f} points lost on {choice.images} images"
    )
    fitted = dataclasses.replace(
        closed,
        thresholds=thresholds,
        policy=spec.name,
        parameters=spec.parameters,
        risk=facts(choice.bound, parts[1].wanted is None) if choice.bound else {},
        none_threshold=none_threshold(parts[1], left),
        none_margin=none_margin(parts[1], left, bank, background_of(request.model)),
        evidence={"gates": {**compared, "exits": gate_report(gates, parts[1], held, thresholds)}, "lct": noise},
        remembered=remember(parts[1].found, manifest),
    )
    return fitted, Splits(learned, held)


def _parts(
    request: Request, graph: Graph, integer: IntegerFile, bank: LabelBank, shares: Shares, progress: Progress
) -> tuple[list[Part], list[Replay]]:
    """The shares of gates and thresholds through the integer file and through the float stages."""
    parts, floats = [], []
    for share in (shares.gates, shares.thresholds):
        cascade = bare_cascade(integer.content, graph.stages, request.model, request.profile.name)
        found = replay(cascade, progress.over(share.images, len(share), "integer file"))
        floats.append(float_replay(graph.stages, share.images, progress))
        labels = request.labels.indices(share.folders)
        shown = [request.labels.place.get(folder, -1) for folder in share.folders]
        parts.append(part_of(found, bank, request.model.logit_scale, floats[-1].embeddings[:, -1], labels, shown))
    return parts, floats
