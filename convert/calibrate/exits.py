"""Gates, policy and thresholds fitted to the integer file: two shares of the images through it, and what `early_exits` makes of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from calibration import inr
from calibration.stored import Stored
from convert.calibrate import gates_and_policy as early_exits
from convert.calibrate import images as fit
from convert.emit.gates import add_gates
from convert.emit.graph import Graph
from convert.emit.integer import IntegerFile
from convert.emit.manifest import describe
from convert.measure.parity import cascade_of
from convert.request import Request
from convert.stages.float_replay import float_replay
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.refit import facts
from tflite_runtime_app.exits.replay import observe, remember, replay
from tflite_runtime_app.exits.thresholds import NEVER
from tflite_runtime_app.policies.spec import spec_of


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The images that gates and strength were learned on, and those that the policy was chosen on."""

    learned: Observed
    held: Observed


def fit_exits(
    request: Request,
    graph: Graph,
    integer: IntegerFile,
    bank: LabelBank,
    stored: Stored,
    shares: fit.Shares,
    progress: Progress,
) -> tuple[Stored, Splits | None]:
    """The calibration with gates, policy and thresholds for its integer file, and what they were fitted to."""
    bare = describe(integer.content, graph.stages, request.model, stored, request.profile.name, {})
    parts, floats = [], []
    for share in (shares.gates, shares.thresholds):
        if not len(share):
            return stored, None
        found = replay(cascade_of(integer.content, bare), progress.over(share.images, len(share), "integer file"))
        floats.append(float_replay(graph.stages, share.images, progress).embeddings)
        labels = request.labels.indices(share.folders)
        parts.append(early_exits.part_of(found, bank, request.model.logit_scale, floats[-1][:, -1], labels))
    gates, compared = early_exits.fit_gates(parts[0], request.gate, request.seed)
    closed = dataclasses.replace(stored, gates=gates, thresholds=(NEVER,) * len(gates))
    content = add_gates(integer.content, gates)
    manifest = describe(content, graph.stages, request.model, closed, request.profile.name, {})
    cascade = cascade_of(content, manifest)
    learned, held = (observe(part.answers, cascade, manifest, len(bank.names), part.wanted) for part in parts)
    ratios = inr.information_to_noise(floats[0], parts[0].found.embeddings, bank.vectors)
    offsets, choice, noise = early_exits.fit_policy(learned, held, ratios[:-1], request.policy, request.aim)
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
        none_threshold=early_exits.none_threshold(parts[1], held.leaves(choice.policy)),
        evidence={"gates": {**compared, "exits": early_exits.gate_report(gates, parts[1], held, thresholds)}, "lct": noise},
        remembered=remember(parts[1].found, manifest),
    )
    return fitted, Splits(learned, held)
