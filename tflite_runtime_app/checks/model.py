"""A bundle on this board: is it valid, does it load, how long does it take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tflite_runtime_app import board
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.checks import Check
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.policies import Never

RUNS = 10


def checks(path: str) -> Iterator[Check]:
    """The file is read, checked, loaded and run; whatever refuses it says why."""
    try:
        bundle = accepted_bundle(Path(path))
        yield Check("bundle", "ok", f"{bundle.manifest.name}, {len(bundle.flatbuffer) / 1e6:.1f} MB, every digest right")
        threads, notice = valid_threads(bundle, board.default_threads())
        cascade = load_cascade(bundle, threads, policy=Never())
    except AppError as error:
        yield Check("bundle", "bad", str(error))
        return
    yield Check("threads", "note" if notice else "ok", notice or f"{threads}, the same bytes as on one")
    yield Check("speed", "ok", f"{full_depth(cascade, RUNS):.1f} ms an image at full depth, {threads} threads")


def full_depth(cascade: Cascade, runs: int) -> float:
    """The median of `runs` images through every stage, in milliseconds, after two that are not counted."""
    preprocessing = cascade.manifest.preprocessing
    image = np.zeros((1, preprocessing.height, preprocessing.width, 3), np.int8)
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        list(cascade.stage_outputs(image))
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times[2:]))
