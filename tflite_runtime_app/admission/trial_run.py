"""A bundle's model is tried once before it is let in: every signature, on images as different as a camera may ever show (`child.py`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.admission.child import Allowed, Trial, admit_once, check_digest, child_main
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.bundle.manifest import FEATURES, Preprocessing
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible, InferenceError
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.policies import Never

MODULE = "tflite_runtime_app.admission.trial_run"
FEATURE_ENDS = (-1e9, 0.0, 1e9)  # a gate's features are clipped to its grid: its two ends and its middle


def admit(bundle: Bundle, allowed: Allowed | None = None) -> None:
    """Returns when LiteRT has run every signature of `bundle` in a child process, now or on an earlier day.

    Raises BundleCorrupt or BundleIncompatible when the model was refused, crashed, hung or ran out of memory; AppError when no child can be
    started.
    """
    trial = Trial(MODULE, bundle.path, bundle.manifest.flatbuffer_sha256, len(bundle.flatbuffer), BUILD_AGAIN)
    admit_once(trial, lambda: check(bundle.flatbuffer), allowed or Allowed())


def check(flatbuffer: bytes) -> None:
    """Returns when the flatbuffer is well made (`flatbuffer_check.py`). Raises BundleCorrupt or BundleIncompatible."""
    from tflite_runtime_app.admission import flatbuffer_check  # late: what was admitted once does not wait for its schema

    flatbuffer_check.check(flatbuffer)


def try_model(bundle: Bundle) -> None:
    """Every stage ran on every trial image, every gate on the ends of its grid, on one thread, in this process.

    Raises BundleIncompatible naming the image on which LiteRT gave up: an operator may meet a value there that no other image brings.
    """
    cascade = load_cascade(bundle, threads=1, policy=Never())
    for name, image in trial_images(bundle.manifest.preprocessing):
        try:
            for _ in cascade.stage_outputs(image):
                pass
        except InferenceError as error:
            raise BundleIncompatible(f"the model does not run on {name}: {error}; {BUILD_AGAIN}") from error
    for gate in bundle.manifest.gates:
        for value in FEATURE_ENDS:
            cascade.gate_score(gate, np.full(len(FEATURES), value, np.float32))


def trial_images(preprocessing: Preprocessing) -> Iterator[tuple[str, npt.NDArray[np.int8]]]:
    """What a model is tried on, with a name for each: int8 [1, height, width, 3]."""
    from importlib.resources import files  # late: a model admitted once does not wait for it

    shape = (1, preprocessing.height, preprocessing.width, 3)
    yield "a black image", np.full(shape, -128, np.int8)
    yield "a white image", np.full(shape, 127, np.int8)
    yield "an image of noise", np.random.default_rng(0).integers(-128, 128, shape, np.int8)
    yield (
        "a photograph",
        image_to_tensor(load_image(str(files("tflite_runtime_app.admission") / "photograph.jpg")), preprocessing),
    )


def _attempt(path: Path, flatbuffer: str | None) -> None:
    bundle = read_bundle(path)
    check_digest(path, flatbuffer, bundle.manifest.flatbuffer_sha256)
    try_model(bundle)


if __name__ == "__main__":
    sys.exit(child_main(MODULE, _attempt))
