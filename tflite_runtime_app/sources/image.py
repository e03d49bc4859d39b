"""One image file."""

from __future__ import annotations

from collections.abc import Iterator

from tflite_runtime_app.sources.base import Frame


def matches(word: str) -> bool:
    """Any word may name an image file: this kind is asked last."""
    return True


def frames(word: str) -> Iterator[Frame]:
    """The one frame of the file `word`; whether it exists and is an image shows when it is loaded."""
    yield Frame.of(word)
