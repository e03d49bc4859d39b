"""How many threads may be trusted here: the same image must give the same bytes on many threads as on one.

On emulated Arm cores without the dot product (Cortex-A53, A72) XNNPACK's int8 product of two activations, which attention is made of, comes
out wrong and different each time when it is shared among threads (LiteRT 2.3.0, QEMU 10.0; `python -m tools.arm64`). Whether a real board
does so is not known to us, so each board is asked itself, once for each model, and runs on one thread if it cannot be trusted with more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from tflite_runtime_app.admission.child import identity
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.errors import InferenceError
from tflite_runtime_app.files import cache_folder, recalled, remember
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.policies import Never

IMAGES = 3
REMEMBERED = 64  # models; an entry is a word
VALID, ONE = b"valid", b"one"


def valid_threads(bundle: Bundle, wanted: int, load: Callable[[Bundle, int], Cascade] | None = None) -> tuple[int, str]:
    """`wanted`, or 1 where more threads change what comes out; and a notice, empty where `wanted` is valid.

    What was found is remembered beside the admitted models; where nothing can be written, every start asks again. `load` gives a cascade
    on so many threads.
    """
    if wanted == 1:
        return 1, ""
    mark = (
        cache_folder("threads") / hashlib.sha256(f"{identity(bundle.manifest.flatbuffer_sha256)} {wanted}".encode()).hexdigest()
    )
    found = recalled(mark)
    if found not in (VALID, ONE):
        found = VALID if _agree(bundle, wanted, load or _load) else ONE
        remember(mark, found, REMEMBERED)
    if found == VALID:
        return wanted, ""
    return 1, f"on {wanted} threads LiteRT computes something else here than on one; running on one thread"


def _agree(bundle: Bundle, threads: int, load: Callable[[Bundle, int], Cascade]) -> bool:
    """Whether one thread and `threads`, the latter twice, put out the same bytes at every stage."""
    shape = bundle.manifest.stages[0].inputs[0].shape
    images = np.random.default_rng(0).integers(-128, 128, (IMAGES, *shape), np.int8)
    one, many = (_digests(load(bundle, count), images) for count in (1, threads))
    return one == many == _digests(load(bundle, threads), images)


def _digests(cascade: Cascade, images: np.ndarray) -> list[bytes]:  # type: ignore[type-arg]
    """A digest of each stage's outputs for each image, up to the stage that fails on it: noise is no image that a model must bear."""
    found = []
    for image in images:
        with suppress(InferenceError):
            for output in cascade.stage_outputs(image):
                found.append(hashlib.sha256(b"".join(output.raw[name].tobytes() for name in sorted(output.raw))).digest())
    return found


def _load(bundle: Bundle, threads: int) -> Cascade:
    return load_cascade(bundle, threads, policy=Never())
