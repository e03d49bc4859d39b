"""The command `classify explain`: what each stage made of a picture, what its gate said, and why it stopped where it did."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import GateSpec
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.exits.thresholds import NEVER
from tflite_runtime_app.inference.answer import Match
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.features import gate_features, score
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.text.label_source import LabelSource

HELP = "show what each stage makes of a picture, and why it stops where it does"
FEATURES = ("confidence", "margin to the second", "variance over the picture")


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: its best labels, features and gate score where it has an exit, whether the image leaves here or already had (`after`)."""

    block: int
    top: tuple[Match, ...]
    cosine_none: bool
    features: tuple[float, float, float] | None
    score: int | None
    threshold: int | None
    chance: float | None
    stopped: bool
    after: bool
    ms: float
    macs: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument("image", metavar="IMAGE", help="one picture")
    parser.add_argument("--labels", metavar="LABELS", help="as in classify run")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="labels a stage (default: %(default)s)")
    parser.add_argument("--out", metavar="PNG", help="draw it too, into this file")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """The explanation stands on standard output, and in --out as a picture."""
    if arguments.top < 1 or arguments.threads < 1:
        raise UsageError("--top and --threads are 1 or more")
    if arguments.out and os.path.exists(arguments.out) and not arguments.force:
        raise UsageError(f"{arguments.out} exists; name another file, or write over it with --force")
    picture = load_image(arguments.image)
    bundle = accepted_bundle(Path(arguments.file))
    classifier = Classifier(bundle, arguments.threads)
    told = classifier.use(LabelSource(bundle, arguments.labels, threads=arguments.threads).read())
    if told:
        print(f"classify: {told}", file=sys.stderr)
    tensor = image_to_tensor(picture, bundle.manifest.preprocessing)
    views = stages_of(classifier.cascade, classifier.bank, tensor, arguments.top)
    for line in words(views, classifier.cascade.manifest.policy.name):
        print(line)
    if arguments.out:
        from tflite_runtime_app.commands.explain_picture import draw  # late: only who asks for it pays for it

        draw(picture, tensor, views, classifier.cascade.manifest.policy.name, arguments.out)
        print(os.path.abspath(arguments.out))
    return 0


def stages_of(cascade: Cascade, bank: LabelBank, tensor: np.ndarray, top: int) -> list[StageView]:  # type: ignore[type-arg]
    """Every stage's view of the image tensor [1, H, W, 3], those after the stop too."""
    manifest = cascade.manifest
    found: list[StageView] = []
    history: list[int] = []
    stopped = False
    for number, output in enumerate(cascade.stage_outputs(tensor)):
        scores = score(output.embedding, bank, manifest.logit_scale)
        order = np.argsort(-scores.cosine, kind="stable")[:top]
        last = number == len(manifest.stages) - 1
        features = None if last or output.variance is None else gate_features(scores.probability, output.variance)
        gate = manifest.gates[number] if not last and number < len(manifest.gates) else None
        gate_score = None if gate is None or features is None else cascade.gate_score(gate, features)
        here = not stopped and (
            last
            or cascade.policy.decide(
                number,
                gate_features(scores.probability, float("nan")) if features is None else features,
                gate_score if cascade.policy.needs_score else None,
                scores.top1,
                tuple(history),
            )
        )
        found.append(
            StageView(
                block=manifest.stages[number].blocks_done,
                top=tuple(Match(bank.names[i], float(scores.probability[i]), float(scores.cosine[i])) for i in order),
                cosine_none=float(scores.cosine[order[0]]) < manifest.none_threshold,
                features=None if features is None else (float(features[0]), float(features[1]), float(features[2])),
                score=gate_score,
                threshold=None if gate is None else gate.threshold,
                chance=None if gate is None or gate_score is None else chance_of(gate_score, gate),
                stopped=here,
                after=stopped,
                ms=output.ms,
                macs=manifest.macs_until(number),
            )
        )
        stopped = stopped or here
        history.append(scores.top1)
    return found


def chance_of(gate_score: int, gate: GateSpec) -> float:
    """What a gate's int8 score says the chance is that stopping is as good as going on: its log odds through the logistic function."""
    log_odds = (gate_score - gate.score.zero_point) * gate.score.scale
    return float(1 / (1 + np.exp(-log_odds)))


def words(views: list[StageView], policy: str) -> list[str]:
    """The explanation, a line a fact."""
    lines = []
    for view in views:
        mark = "leaves here" if view.stopped else "not run in earnest: it had left" if view.after else "goes on"
        lines.append(
            f"after block {view.block} of {views[-1].block}: {mark} ({view.ms:.1f} ms, {view.macs / 1e6:.0f} million MACs so far)"
        )
        lines.append("    " + ", ".join(f"{m.label} {m.probability:.1%} (cosine {m.cosine:.3f})" for m in view.top))
        if view.cosine_none:
            lines.append("    too far from every label: none of these")
        if view.features is not None:
            lines.append("    " + ", ".join(f"{name} {value:.3f}" for name, value in zip(FEATURES, view.features, strict=True)))
        lines += [f"    {line}" for line in _verdict(view, policy)]
    return lines


def _verdict(view: StageView, policy: str) -> list[str]:
    """What the exit decided and by what."""
    if view.score is None or view.threshold is None:
        return []
    if view.threshold >= NEVER or policy == "never":
        return [f"gate: {view.score}; the exit is closed"]
    sign = ">=" if view.score >= view.threshold else "<"
    return [
        f"gate: {view.score} {sign} {view.threshold}, it gives stopping a chance of {view.chance:.0%} to be as good as going on"
    ]
