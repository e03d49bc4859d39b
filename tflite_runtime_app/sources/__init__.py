"""Where pictures come from: one module per kind of source, picked by the word on the command line.

A new kind is a module with `matches(word)` and `frames(word)`, added to `KINDS` before `image`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tflite_runtime_app.sources import folder, image, pattern
from tflite_runtime_app.sources.base import Frame

KINDS = (folder, pattern, image)


def frames_of(word: str) -> Iterator[Frame]:
    """The frames of the source that `word` names. Raises SourceError, on the first step, when it names none."""
    kind = next(kind for kind in KINDS if kind.matches(word))
    yield from kind.frames(word)
