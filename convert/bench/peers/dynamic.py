"""The same stages as a dynamic-range TensorFlow Lite file under XNNPACK: int8 weights, float32 between the products."""

from __future__ import annotations

from convert.bench.subject import Peer, Subject
from convert.bench.tflite_peer import prepare_file


def prepare(subject: Subject) -> Peer:
    """NAME-dynamic.tflite beside the bundle."""
    return prepare_file(subject, "dynamic", "TFLite dynamic-range int8, XNNPACK")
