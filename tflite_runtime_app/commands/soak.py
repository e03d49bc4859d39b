"""The command `classify soak`: a synthetic camera misbehaves on schedule, for as long as you like; memory and restarts are counted."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from tflite_runtime_app import board
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import add_threads, positive, threads_of
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.live.loop import Loop
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.sinks.base import Failure, Result, Sink
from tflite_runtime_app.sources.base import CaptureOptions
from tflite_runtime_app.text.label_source import LabelSource

HELP = "run a bundle on a synthetic camera that fails on schedule, and tell how memory and restarts went"
SIZE = "160x120"
# Every so many frames the camera stops dead, repeats its last frame for ever, sends rubbish, or crashes; and one in many is broken.
RATE = 150  # frames a second; a life of 6,000 lasts longer than it takes for restarts in a row to be forgiven
FAULTS = ("die=6000", "stall=6000", "repeat=6000", "garbage=6000")
PARTS = 10  # of the run; memory is shown after each
WARM = 1  # parts before memory counts: what is set up once is set up by then


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument("--frames", type=positive, default=100_000, metavar="N", help="answers to give (default: %(default)s)")
    add_threads(parser)
    parser.add_argument("--labels", metavar="LABELS", help="as in classify run")
    parser.add_argument("--no-faults", action="store_true", help="a camera that never fails")
    parser.add_argument(
        "--most-growth", type=float, default=4.0, metavar="MB", help="more memory than this is a failure (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """The figures stand on standard output; 1 when memory grew by more than --most-growth."""
    bundle = accepted_bundle(Path(arguments.file))
    threads = threads_of(arguments)
    classifier = Classifier(bundle, threads)
    tell(classifier.notice)
    classifier.use(LabelSource(bundle, arguments.labels, threads=threads).read())
    counted, memory, restarts, failed, dropped = _Counted(), [], 0, 0, 0
    start = time.monotonic()
    for part in range(PARTS):
        fault = "" if arguments.no_faults else f",{FAULTS[part % len(FAULTS)]},broken=997"
        feed = open_feed(f"fake:{SIZE},jpeg,rate={RATE}{fault}", CaptureOptions())
        try:
            loop = Loop(feed, classifier, [counted], smoother=Smoother(3, 5))
            loop.run(max(arguments.frames // PARTS, 1))
            health = feed.health()
            restarts, failed, dropped = restarts + health.restarts, failed + loop.failed, dropped + health.dropped
        finally:
            feed.close()
        memory.append(board.memory_bytes())
        tell(f"{counted.results} frames, {memory[-1] / 1e6:.1f} MB, {restarts} restarts")
    seconds = time.monotonic() - start
    growth = (memory[-1] - memory[min(WARM, len(memory)) - 1]) / 1e6
    figures = {
        "frames": counted.results,
        "seconds": round(seconds, 1),
        "frames_a_second": round(counted.results / seconds, 1),
        "broken_frames": failed,
        "overtaken_frames": dropped,
        "restarts": restarts,
        "memory_mb": [round(value / 1e6, 2) for value in memory],
        "growth_mb": round(growth, 2),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<18} {value}")
    return 1 if growth > arguments.most_growth else 0


class _Counted(Sink):
    """Counts, and keeps nothing."""

    def __init__(self) -> None:
        self.results = self.failures = 0

    def result(self, result: Result) -> None:
        self.results += 1

    def failure(self, failure: Failure) -> None:
        self.failures += 1
