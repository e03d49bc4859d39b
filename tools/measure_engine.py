"""What the board's engine costs over bare invocations of the same file, and what huge pages save.

    python tools/measure_engine.py pocket-rpi.tflite --rounds 300

Milliseconds of this process's own time, one thread, medians: all stages invoked bare, the same through the engine with hand-over and the
last embedding, and through an engine that loaded without huge pages. They take turns in an order drawn anew each round, each after an
untimed run of its own; differences are medians over the rounds.
"""

import argparse
import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.inference import engine
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.policies import Never


def bare(bundle: Bundle) -> Callable[[], None]:
    """All stages of an interpreter of its own, loaded as the engine loads one; what stands in their inputs does not matter for time."""
    with mock.patch.object(engine, "direct", lambda runner: runner):
        runners = engine.LiteRtEngine(bundle.flatbuffer)._calls
    stages: list[Any] = [runners[stage.signature] for stage in bundle.manifest.stages]
    for stage in stages:
        stage._interpreter_wrapper.AllocateTensors(stage._subgraph_index)

    def run() -> None:
        for stage in stages:
            stage._interpreter_wrapper.Invoke(stage._subgraph_index)

    return run


def through(cascade: Cascade) -> Callable[[], None]:
    """The cascade to full depth."""
    image = np.random.default_rng(0).integers(-128, 128, cascade.manifest.stages[0].inputs[0].shape, np.int8)

    def run() -> None:
        *_, last = cascade.stage_outputs(image)
        _ = last.embedding

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.file)
    with mock.patch.object(engine, "huge_pages", lambda size: contextlib.nullcontext()):  # first: a heap keeps what it was given
        runs = {"without huge pages": through(load_cascade(bundle, 1, policy=Never()))}
    runs |= {"bare": bare(bundle), "engine": through(load_cascade(bundle, 1, policy=Never()))}
    times: dict[str, list[float]] = {name: [] for name in runs}
    random = np.random.default_rng(0)
    gc.disable()
    for _ in range(arguments.rounds):
        for name in random.permutation(list(runs)):
            runs[name]()
            start = time.process_time_ns()
            runs[name]()
            times[name].append((time.process_time_ns() - start) / 1e6)
    for name, values in times.items():
        over = statistics.median(a - b for a, b in zip(values, times["bare"], strict=True))
        print(f"{name:20} {statistics.median(values):6.2f} ms, {over:+.2f} over bare")


if __name__ == "__main__":
    main()
