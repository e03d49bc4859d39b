"""Video files, known by their suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.files import what_it_is
from tflite_runtime_app.sources import libav
from tflite_runtime_app.sources.address import shown
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "finite"


def check(word: str) -> None:
    """Returns when PyAV and the file are there; else raises UsageError or SourceError."""
    if not os.path.exists(word):
        raise SourceError(f"{shown(word)}: no such file")
    if kind := what_it_is(word):  # FFmpeg would wait for a pipe's writer for ever
        raise SourceError(
            f"{shown(word)}: expected a video file, found {kind}; pixels from another program go to raw:WIDTHxHEIGHT"
        )
    libav.check(word)


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """Every frame of the file, as large as it is. Raises SourceError when it is no video, or broken somewhere."""
    return libav.shots(word, (libav.Opening(os.path.abspath(word)),))
