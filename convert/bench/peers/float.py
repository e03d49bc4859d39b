"""The same stages as a float32 TensorFlow Lite file under XNNPACK."""

from __future__ import annotations

from convert.bench.subject import Peer, Subject
from convert.bench.tflite_peer import prepare_file


def prepare(subject: Subject) -> Peer:
    """NAME-float.tflite beside the bundle."""
    return prepare_file(subject, "float", "TFLite float32, XNNPACK")
