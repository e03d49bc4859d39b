"""What every kind of source gives: frames, which are decoded only when their turn comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture to come: `source` is its own path (or URL, or device), `index` counts from 0 within that source.

    `load()` gives the decoded picture or raises SourceError. `taken` is when a live source took it, in seconds since 1970, else None.
    """

    source: str
    index: int
    load: Callable[[], Image.Image]
    taken: float | None = None
