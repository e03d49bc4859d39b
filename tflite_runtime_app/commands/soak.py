"""The command `classify soak`: a synthetic camera misbehaves on schedule, for as long as you like; memory and restarts are counted."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from tflite_runtime_app import board
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import add_threads, positive, threads_of
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.live.loop import Loop
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.sinks.base import Failure, Result, Sink
from tflite_runtime_app.sources.base import CaptureOptions
from tflite_runtime_app.text.label_source import LabelSource

SIZE = "160x120"
RATE = 150  # frames a second; a life of 6,000 lasts longer than it takes for restarts in a row to be forgiven
LIFE = 6000  # frames until the camera fails, where there are so many
# The camera stops dead, hangs, repeats its last frame for ever, sends rubbish: one of them in each part, in turn.
FAULTS = ("die", "stall", "repeat", "garbage")
BROKEN, EVERY = "broken", 997  # and one frame in so many is broken
PARTS = 10  # of the run; memory is shown after each
FEWEST = 100  # frames in which each part has room for its fault
STEP = 5  # answers, at most, between two looks whether the camera was started anew; a tenth of a short part, which must leave room for more
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
    """The figures stand on standard output; 1 when memory grew by more than --most-growth, or when a fault was not reached."""
    if arguments.frames < FEWEST and not arguments.no_faults:
        raise UsageError(
            f"expected --frames {FEWEST} or more, so that every fault comes up, found {arguments.frames}; give more, or --no-faults"
        )
    bundle = accepted_bundle(Path(arguments.file))
    threads = threads_of(arguments)
    classifier = Classifier(bundle, threads)
    tell(classifier.notice)
    classifier.use(LabelSource(bundle, arguments.labels, threads=threads).read())
    counted, memory = _Counted(), []
    tried: Counter[str] = Counter(dict.fromkeys(() if arguments.no_faults else (*FAULTS, BROKEN), 0))
    start = time.monotonic()
    for part in range(PARTS):
        _run_part(part, arguments, classifier, counted, tried)
        memory.append(board.memory_bytes())
        tell(f"{counted.results} frames, {memory[-1] / 1e6:.1f} MB, {counted.restarts} restarts")
    seconds = time.monotonic() - start
    growth = (memory[-1] - memory[min(WARM, len(memory)) - 1]) / 1e6
    figures = {
        "frames": counted.results,
        "seconds": round(seconds, 1),
        "frames_a_second": round(counted.results / seconds, 1),
        "broken_frames": counted.failed,
        "overtaken_frames": counted.dropped,
        "restarts": counted.restarts,
        "faults": dict(tried),
        "memory_mb": [round(value / 1e6, 2) for value in memory],
        "growth_mb": round(growth, 2),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        figures["faults"] = ", ".join(f"{name} {count}" for name, count in tried.items()) or "none tried"
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<18} {value}")
    missed = [name for name, count in tried.items() if not count]
    if missed:
        tell(f"too few frames: never came up: {', '.join(missed)}; give more --frames than {arguments.frames}")
    return 1 if missed or growth > arguments.most_growth else 0


def _run_part(part: int, arguments: argparse.Namespace, classifier: Classifier, counted: _Counted, tried: Counter[str]) -> None:
    """One part of the frames was answered, and its fault was lived through; `counted` and `tried` know.

    Where lives are short, the camera is sound again after its fault: restarts in quick succession are held back, as they should be, and the
    run would do nothing but wait.
    """
    frames = max(arguments.frames // PARTS, 1)
    if arguments.no_faults:
        _run_feed("", frames, classifier, counted)
        return
    fault, short = FAULTS[part % len(FAULTS)], frames <= LIFE
    before, failed = counted.restarts, counted.failed
    if short:  # and no broken frames yet: one among repeated ones makes them look fresh
        answered = _run_feed(f",{fault}={frames // 2}", frames, classifier, counted, until_restart=True)
        _run_feed(f",{BROKEN}={max(2, min(EVERY, (frames - answered) // 2))}", frames - answered, classifier, counted)
    else:
        _run_feed(f",{fault}={LIFE},{BROKEN}={EVERY}", frames, classifier, counted)
    tried[fault] += counted.restarts - before
    tried[BROKEN] += counted.failed - failed


def _run_feed(faults: str, frames: int, classifier: Classifier, counted: _Counted, *, until_restart: bool = False) -> int:
    """How many frames were answered: `frames`, or fewer when the camera was started anew before that and nobody wants to go on."""
    feed = open_feed(f"fake:{SIZE},jpeg,rate={RATE}{faults}", CaptureOptions())
    try:
        loop = Loop(feed, classifier, [counted], smoother=Smoother(3, 5))
        step = max(1, min(STEP, frames // 10))
        while loop.answered < frames and not (until_restart and feed.health().restarts):
            loop.run(min(frames, loop.answered + step) if until_restart else frames)
            if feed.health().state == "ended":
                break
        counted.restarts += feed.health().restarts
        counted.failed += loop.failed
        counted.dropped += feed.health().dropped
        return loop.answered
    finally:
        feed.close()


class _Counted(Sink):
    """Counts, and keeps nothing."""

    def __init__(self) -> None:
        self.results = self.failures = self.restarts = self.failed = self.dropped = 0

    def result(self, result: Result) -> None:
        self.results += 1

    def failure(self, failure: Failure) -> None:
        self.failures += 1
