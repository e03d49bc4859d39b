"""The command `classify run`: images in, one answer each out; or a live source, until it is stopped."""

from __future__ import annotations

import argparse
from contextlib import closing

from tflite_runtime_app.batch.ahead import outcomes
from tflite_runtime_app.batch.steps import Outcome, steps_of
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import add_arguments, jobs_of
from tflite_runtime_app.commands.outputs import close, sinks_of, wants_images
from tflite_runtime_app.commands.setup import Setup
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.live.smooth import Smoother, parse_smooth
from tflite_runtime_app.sinks.base import Failure, Sink
from tflite_runtime_app.sources import is_live
from tflite_runtime_app.sources.address import shown

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Every source was answered or reported on the sinks; 0 when all were answered, 1 when some were not."""
    live = _is_live(arguments)
    smooth = parse_smooth(arguments.smooth) if arguments.smooth else None
    if not live and (smooth or arguments.serve is not None):
        raise UsageError("--smooth and --serve are for one live source: rpi, usb, a stream, a video, or a folder with --watch")
    if live and arguments.sheet:
        raise UsageError("--sheet is for images that lie there: a live source has no end; --snapshots keeps its images")
    if live and arguments.jobs > 1:
        raise UsageError("--jobs is for images that lie there: a live source is looked at by one process")
    setup = Setup(arguments, Notifier())
    ready = setup.ready(setup.opened())
    tell(ready.notice)
    if live:
        from tflite_runtime_app.commands.run_live import run_live  # late: a picture does without cameras

        return run_live(setup, ready, Smoother(*smooth) if smooth else None)
    return 0 if _answer(arguments, ready.classifier) else 1


def _answer(arguments: argparse.Namespace, classifier: Classifier) -> bool:
    """Every image went to the sinks; False when a source or a frame of one failed."""
    steps, jobs, failed = steps_of(arguments.sources), None, False
    if arguments.jobs > 1:
        from tflite_runtime_app.batch.jobs import Jobs  # late: most do with one process

        jobs = Jobs(classifier, jobs_of(arguments), wants_images(arguments))  # before sinks, which may have threads
    try:
        sinks = sinks_of(arguments, classifier, None)
        try:
            with closing(jobs.outcomes(steps) if jobs else outcomes(classifier, steps)) as found:
                for outcome in found:
                    failed |= isinstance(outcome, Failure)
                    _hand_on(outcome, sinks)
        finally:
            close(sinks)
    finally:
        if jobs:
            jobs.close()
    return not failed


def _hand_on(outcome: Outcome, sinks: list[Sink]) -> None:
    if isinstance(outcome, str):
        tell(outcome)
        return
    for sink in sinks:
        if isinstance(outcome, Failure):
            sink.failure(outcome)
        else:
            sink.result(outcome)


def _is_live(arguments: argparse.Namespace) -> bool:
    """Whether the one source is live. Raises UsageError for a live source among others."""
    if arguments.watch and len(arguments.sources) > 1:
        raise UsageError("--watch looks at one folder")
    live = [word for word in arguments.sources if is_live(word)]
    if live and len(arguments.sources) > 1:
        raise UsageError(f"{shown(live[0])} is a live source: it runs until it is stopped, so name it alone")
    return bool(live) or bool(arguments.watch)
