"""The command `classify explain`: what each stage made of an image, what its gate said, and why it stopped where it did."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import add_threads, positive, threads_of
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.exits.thresholds import NEVER
from tflite_runtime_app.files import check_target, writing
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.inference.stage_views import StageView, stages_of
from tflite_runtime_app.sources import refuse_addresses
from tflite_runtime_app.text.label_source import LabelSource

FEATURES_IN_WORDS = ("confidence", "margin to the second", "variance over the image")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument("image", metavar="IMAGE", help="one image")
    parser.add_argument("--labels", metavar="LABELS", help="as in classify run")
    parser.add_argument("--top", type=positive, default=3, metavar="N", help="labels a stage (default: %(default)s)")
    parser.add_argument("--out", metavar="PNG", help="draw it too, into this file")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """The explanation stands on standard output, and in --out as a drawing."""
    if arguments.out and os.path.exists(arguments.out) and not arguments.force:
        raise UsageError(f"{arguments.out} exists; name another file, or write over it with --force")
    refuse_addresses(arguments.image)
    if arguments.out:
        with writing("--out", arguments.out):
            check_target(arguments.out)
    image = load_image(arguments.image)
    bundle = accepted_bundle(Path(arguments.file))
    threads = threads_of(arguments)
    classifier = Classifier(bundle, threads)
    tell(classifier.notice)
    tell(classifier.use(LabelSource(bundle, arguments.labels, threads=threads).read()))
    tensor = image_to_tensor(image, bundle.manifest.preprocessing)
    views = stages_of(classifier.cascade, classifier.bank, tensor, arguments.top, classifier.background)
    for line in words(views, classifier.cascade.manifest.policy.name):
        print(escaped(line))
    if arguments.out:
        from tflite_runtime_app.commands.explain_drawing import draw  # late: only who asks for it pays for it

        draw(image, tensor, views, classifier.cascade.manifest.policy.name, arguments.out)
        print(escaped(os.path.abspath(arguments.out)))
    return 0


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
        if view.like:
            lines.append(f"    fits {view.like} better than every label: none of these")
        if view.features is not None:
            lines.append(
                "    " + ", ".join(f"{name} {value:.3f}" for name, value in zip(FEATURES_IN_WORDS, view.features, strict=True))
            )
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
