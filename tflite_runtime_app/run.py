"""The command `classify run`: pictures in, one answer each out; or a live source, until it is stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tflite_runtime_app.bundle import Bundle, read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import LabelError, SourceError, UsageError
from tflite_runtime_app.labels import LabelBank, check_space, read_labels
from tflite_runtime_app.live.control import Control
from tflite_runtime_app.live.feed import Feed
from tflite_runtime_app.live.loop import Loop
from tflite_runtime_app.live.watched import WatchedFolder
from tflite_runtime_app.options import add_arguments, capture_of, view_of
from tflite_runtime_app.outputs import sinks_of
from tflite_runtime_app.sinks.base import Failure, Sink
from tflite_runtime_app.smooth import Smoother, parse_smooth
from tflite_runtime_app.sources import frames_of, is_live, open_feed
from tflite_runtime_app.sources.address import hide_credentials

__all__ = ["HELP", "add_arguments", "run"]

HELP = "classify images: files, folders, quoted patterns, or a live source"


def run(arguments: argparse.Namespace) -> int:
    """Every source was answered or reported on the sinks; 0 when all were answered, 1 when some were not."""
    live = _is_live(arguments)
    smooth = parse_smooth(arguments.smooth) if arguments.smooth else None
    if not live and (smooth or arguments.serve is not None):
        raise UsageError("--smooth and --serve are for one live source: rpi, usb, a stream, a video, or a folder with --watch")
    bundle = read_bundle(arguments.file)
    classifier = Classifier(bundle, arguments.threads, arguments.top, arguments.full_depth, view_of(arguments))
    told = classifier.use(choose_labels(bundle, arguments.labels))
    if told:
        print(f"classify: {told}", file=sys.stderr)
    if live:
        return _run_live(arguments, classifier, Smoother(*smooth) if smooth else None)
    sinks = sinks_of(arguments, classifier, None)
    try:
        sound = [_run_source(word, classifier, sinks) for word in arguments.sources]
    finally:
        _close(sinks)
    return 0 if all(sound) else 1


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


def _is_live(arguments: argparse.Namespace) -> bool:
    """Whether the one source is live. Raises UsageError for a live source among others."""
    if arguments.watch and len(arguments.sources) > 1:
        raise UsageError("--watch looks at one folder")
    live = [word for word in arguments.sources if is_live(word)]
    if live and len(arguments.sources) > 1:
        raise UsageError(f"{hide_credentials(live[0])} is a live source: it runs until it is stopped, so name it alone")
    return bool(live) or bool(arguments.watch)


def _run_live(arguments: argparse.Namespace, classifier: Classifier, smoother: Smoother | None) -> int:
    """The source is watched until it ends or a signal comes; 1 when it ended for a fault."""
    control = Control()
    loop: Loop | None = None

    def change_labels(text: str) -> str:
        assert loop is not None  # the page is served before the loop is made, but nobody is answered before it runs
        raise UsageError(f"labels cannot be changed here: {text}")

    word = arguments.sources[0]
    feed: Feed = WatchedFolder(word) if arguments.watch else open_feed(word, capture_of(arguments))
    sinks: list[Sink] = []
    try:
        sinks = sinks_of(arguments, classifier, change_labels)
        loop = Loop(feed, classifier, sinks, control, smoother)
        loop.run(arguments.frames)
        error = feed.health().error
        if error:
            for sink in sinks:
                sink.failure(Failure(hide_credentials(word), loop.answered, error))
        return 1 if error or loop.failed else 0
    finally:
        feed.close()
        _close(sinks)


def _run_source(word: str, classifier: Classifier, sinks: list[Sink]) -> bool:
    """Every frame of one source went to the sinks; False when the source or a frame of it failed."""
    sound = True

    def failed(source: str, frame: int, error: SourceError) -> None:
        nonlocal sound
        sound = False
        for sink in sinks:
            sink.failure(Failure(source, frame, str(error)))

    try:
        for frame in frames_of(word):
            try:
                result = classifier.classify(frame)
            except SourceError as error:
                failed(frame.source, frame.index, error)
                continue
            for sink in sinks:
                sink.result(result)
    except SourceError as error:
        failed(word, 0, error)
    return sound


def _close(sinks: list[Sink]) -> None:
    """Every sink is closed, the later ones too when an earlier one cannot be."""
    errors: list[BaseException] = []
    closers: list[Callable[[], None]] = [sink.close for sink in sinks]
    for close in closers:
        try:
            close()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]
