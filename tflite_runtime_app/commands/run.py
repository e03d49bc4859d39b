"""The command `classify run`: images in, one answer each out; or a live source, until it is stopped."""

from __future__ import annotations

import argparse

from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import add_arguments
from tflite_runtime_app.commands.outputs import close, sinks_of
from tflite_runtime_app.commands.setup import Setup
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.live.smooth import Smoother, parse_smooth
from tflite_runtime_app.sinks.base import Failure, Sink
from tflite_runtime_app.sources import frames_of, is_live, left_out_of
from tflite_runtime_app.sources.address import shown

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Every source was answered or reported on the sinks; 0 when all were answered, 1 when some were not."""
    live = _is_live(arguments)
    smooth = parse_smooth(arguments.smooth) if arguments.smooth else None
    if not live and (smooth or arguments.serve is not None):
        raise UsageError("--smooth and --serve are for one live source: rpi, usb, a stream, a video, or a folder with --watch")
    setup = Setup(arguments, Notifier())
    ready = setup.ready(setup.opened())
    tell(ready.notice)
    if live:
        from tflite_runtime_app.commands.run_live import run_live  # late: a picture does without cameras

        return run_live(setup, ready, Smoother(*smooth) if smooth else None)
    classifier = ready.classifier
    sinks = sinks_of(arguments, classifier, None)
    try:
        answered = [_run_source(word, classifier, sinks) for word in arguments.sources]
    finally:
        close(sinks)
    return 0 if all(answered) else 1


def _is_live(arguments: argparse.Namespace) -> bool:
    """Whether the one source is live. Raises UsageError for a live source among others."""
    if arguments.watch and len(arguments.sources) > 1:
        raise UsageError("--watch looks at one folder")
    live = [word for word in arguments.sources if is_live(word)]
    if live and len(arguments.sources) > 1:
        raise UsageError(f"{shown(live[0])} is a live source: it runs until it is stopped, so name it alone")
    return bool(live) or bool(arguments.watch)


def _run_source(word: str, classifier: Classifier, sinks: list[Sink]) -> bool:
    """Every frame of one source went to the sinks; False when the source or a frame of it failed."""
    answered = True

    def failed(source: str, frame: int, error: SourceError) -> None:
        nonlocal answered
        answered = False
        for sink in sinks:
            sink.failure(Failure(source, frame, str(error)))

    try:
        tell(left_out_of(word))
        for frame in frames_of(word):
            try:
                result = classifier.classify(frame)
            except SourceError as error:
                failed(frame.source, frame.index, error)
                continue
            for sink in sinks:
                sink.result(result)
    except SourceError as error:
        failed(shown(word), 0, error)
    return answered
