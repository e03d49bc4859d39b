"""The command `classify run`: pictures in, one answer each out."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tflite_runtime_app.bundle import Bundle, read_bundle
from tflite_runtime_app.cascade import Cascade, load_cascade
from tflite_runtime_app.decide import answer
from tflite_runtime_app.errors import LabelError, SourceError
from tflite_runtime_app.fitted import for_labels
from tflite_runtime_app.labels import LabelBank, check_space, read_labels
from tflite_runtime_app.policies import Never, policy_from_manifest
from tflite_runtime_app.preprocess import image_to_tensor
from tflite_runtime_app.refit import for_other_labels
from tflite_runtime_app.sinks.base import Failure, Result, Sink
from tflite_runtime_app.sinks.jsonl import JsonLinesSink
from tflite_runtime_app.sinks.line import LineSink
from tflite_runtime_app.sources import frames_of
from tflite_runtime_app.sources.base import Frame

HELP = "classify images: files, folders, or quoted patterns"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help="an image, a folder of images, or a pattern in quotes")
    parser.add_argument("--labels", metavar="NPZ", help="labels made by: convert labels (default: the bundle's own)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    parser.add_argument("--top", type=_positive, default=5, metavar="N", help="labels to show (default: %(default)s)")
    parser.add_argument(
        "--threads", type=_positive, default=min(4, os.cpu_count() or 1), metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--full-depth", action="store_true", help="take no early exit")


def run(arguments: argparse.Namespace) -> int:
    """Every source was answered or reported on the sink; 0 when all were answered, 1 when some were not."""
    bundle = read_bundle(arguments.file)
    bank = choose_labels(bundle, arguments.labels)
    cascade = cascade_for(bundle, bank, arguments.threads, arguments.full_depth)
    sink: Sink = JsonLinesSink(sys.stdout) if arguments.json else LineSink(sys.stdout, sys.stderr)
    failed = False
    for word in arguments.sources:
        failed |= not _run_source(word, cascade, bank, arguments.top, sink)
    sink.close()
    return 1 if failed else 0


def cascade_for(bundle: Bundle, bank: LabelBank, threads: int, full_depth: bool) -> Cascade:
    """The bundle's cascade for these labels; for others than its own, exits are fitted anew on what the bundle remembers, or taken off."""
    cascade = load_cascade(bundle, threads, policy=Never())
    if full_depth:
        return Cascade(cascade.engine, for_labels(bundle.manifest, bank), Never())
    manifest, told = for_other_labels(cascade, bundle.manifest, bundle.remembered, bank)
    if told:
        print(f"classify: {told}", file=sys.stderr)
    return Cascade(cascade.engine, manifest, policy_from_manifest(manifest))


def choose_labels(bundle: Bundle, path: str | None) -> LabelBank:
    """The labels at `path`, or the bundle's own; they belong to the bundle's space. Raises LabelError when there are none."""
    if path is not None:
        bank = read_labels(path)
        check_space(bank, bundle.manifest)
        return bank
    if bundle.labels is None:
        raise LabelError(
            f"{bundle.path} holds no labels; make some with: convert labels {bundle.path} --labels LABELS.txt --out labels.npz "
            "and pass them with --labels labels.npz"
        )
    return bundle.labels


def classify_frame(frame: Frame, cascade: Cascade, bank: LabelBank, top: int) -> Result:
    """The answer to one frame. Raises SourceError when its picture cannot be read."""
    image = frame.load()
    start = time.perf_counter()
    embedding = cascade.run(image_to_tensor(image, cascade.manifest.preprocessing), bank)
    best = answer(embedding, bank, cascade.manifest, top)
    return Result(
        source=frame.source,
        frame=frame.index,
        answer=best,
        exit=embedding.stage,
        block=embedding.blocks_done,
        blocks=cascade.manifest.stages[-1].blocks_done,
        macs=embedding.macs,
        ms=(time.perf_counter() - start) * 1e3,
        stages_ms=embedding.stages_ms,
    )


def _run_source(word: str, cascade: Cascade, bank: LabelBank, top: int, sink: Sink) -> bool:
    """Every frame of one source went to the sink; False when the source or a frame of it failed."""
    sound = True
    try:
        for frame in frames_of(word):
            try:
                sink.result(classify_frame(frame, cascade, bank, top))
            except SourceError as error:
                sound = False
                sink.failure(Failure(frame.source, frame.index, str(error)))
    except SourceError as error:
        sound = False
        sink.failure(Failure(word, 0, str(error)))
    return sound


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number
