"""A TensorFlow Lite file of the same stages, run to full depth by the board's own engine; `float` and `dynamic` are such files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.samples import pixels
from convert.bench.float_files import float_path
from convert.bench.subject import Peer, Subject
from convert.support.errors import UsageError
from tflite_runtime_app.inference.engine import LiteRtEngine


def prepare_file(subject: Subject, kind: str, what: str) -> Peer:
    """The file that `convert build --keep-float` left beside the bundle. Raises UsageError when it is not there."""
    path = float_path(subject.file, kind)
    again = f"make it with: convert build --keep-float --out {subject.file}"
    if not path.is_file():
        raise UsageError(f"--against {kind} needs {path}, which does not exist; {again}")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise UsageError(f"{path}: expected a TensorFlow Lite file, found {content[4:8]!r}; {again}")
    engine = LiteRtEngine(content, subject.threads)
    stages = [stage.signature for stage in subject.manifest.stages]
    if sorted(engine.signatures) != sorted(stages):
        raise UsageError(f"{path} has the signatures {', '.join(engine.signatures)}, the bundle {', '.join(stages)}; {again}")

    def embed(image: NDArray[np.float32]) -> NDArray[np.float32]:
        available: dict[str, Any] = {"image": image}
        for stage in stages:
            available = engine.invoke(stage, {name: available[name] for name in engine.signatures[stage].inputs})
        embedding: NDArray[np.float32] = available["embedding"].reshape(-1)
        return embedding

    inputs = tuple(image[np.newaxis] for image in pixels(subject.images))
    return Peer(what, len(content), inputs, embed)
