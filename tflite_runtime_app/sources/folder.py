"""A folder of images, without the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.preprocess import SUFFIXES
from tflite_runtime_app.sources import image
from tflite_runtime_app.sources.base import Frame


def matches(word: str) -> bool:
    """Whether `word` is a folder."""
    return os.path.isdir(word)


def frames(word: str) -> Iterator[Frame]:
    """The files of folder `word` with an image suffix, by name. Raises SourceError when there are none."""
    try:
        names = sorted(name for name in os.listdir(word) if os.path.splitext(name)[1].lower() in SUFFIXES)
    except OSError as error:
        raise SourceError(f"{word}: expected a readable folder, found: {error.strerror}") from error
    paths = [path for path in (os.path.join(word, name) for name in names) if os.path.isfile(path)]
    if not paths:
        raise SourceError(f"{word}: expected a folder with images ({', '.join(sorted(SUFFIXES))}), found none")
    for path in paths:
        yield from image.frames(path)
