"""What sources give: frames, decoded only when their turn comes; and what a live source's own process gives, shot by shot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from PIL import Image

Nature = Literal["camera", "stream", "finite"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture to come: `source` is its own path (or URL, or device), `index` counts from 0 within that source.

    `load()` gives the decoded picture or raises SourceError. `taken` is when a live source took it, in seconds since 1970, else None.
    """

    source: str
    index: int
    load: Callable[[], Image.Image]
    taken: float | None = None


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What is asked of a camera: pixels, and frames a second. A file gives what it holds, a network stream no more than this."""

    width: int = 640
    height: int = 480
    rate: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture as a source's process hands it over: a whole JPEG, or `rgb` with three bytes a pixel, row by row.

    `sequence` is the source's own count; one that stands still or runs back tells of a camera that hangs. `taken` is in seconds since 1970.
    Of a JPEG `width` and `height` may be 0: it says so itself.
    """

    kind: Literal["jpeg", "rgb"]
    width: int
    height: int
    data: bytes | bytearray
    sequence: int
    taken: float = field(default_factory=time.time)


class LiveKind(Protocol):
    """A module that is one kind of live source.

    NATURE says how it is watched. A "camera" is started anew when it stops or repeats itself to the byte, a "stream" when it stops; what is
    "finite" has an end, gives every frame it holds, and alone may read standard input.
    """

    NATURE: Nature

    def matches(self, word: str) -> bool:
        """Whether `word` names a source of this kind."""

    def check(self, word: str) -> None:
        """Returns when `word` makes sense and what it needs is here; else raises UsageError or SourceError with the remedy."""

    def shots(self, word: str, options: CaptureOptions) -> Iterator[Shot]:
        """The pictures, in the source's own process. Raises SourceError or UsageError with the remedy."""
