"""A pattern with *, ? or [ that the shell left alone; ** goes through folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sources import image
from tflite_runtime_app.sources.base import Frame


def matches(word: str) -> bool:
    """Whether `word` has a wildcard and is not itself the name of something."""
    return glob.has_magic(word) and not os.path.exists(word)


def frames(word: str) -> Iterator[Frame]:
    """The files that `word` stands for, by name, whatever their suffix. Raises SourceError when there are none."""
    paths = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))
    if not paths:
        raise SourceError(f"{word}: expected a pattern that some file matches, found none; check it")
    for path in paths:
        yield from image.frames(path)
