"""What sources give: frames, decoded only when their turn comes; and what a live source's own process gives, shot by shot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from tflite_runtime_app import board
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.preprocess import load_image, loaded

Nature = Literal["camera", "stream", "finite"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a source: `source` is its own path (or URL, or device), `index` counts from 0 within that source.

    `load()` gives the decoded image or raises SourceError; `smaller(least)`, where there is one, gives it with `least` pixels a side or
    more, sooner (`inference/smaller.py`). `taken` is when a live source took it, in seconds since 1970, else None.
    `until` is when it is too old for an answer, in seconds of `board.clock`; None for what does not age.
    """

    source: str
    index: int
    load: Callable[[], Image.Image]
    taken: float | None = None
    until: float | None = None
    smaller: Callable[[int], Image.Image] | None = None

    @classmethod
    def of(
        cls,
        image: Image.Image | npt.NDArray[np.uint8] | str | os.PathLike[str],
        source: str = "",
        index: int = 0,
        taken: float | None = None,
    ) -> Frame:
        """The frame of a Pillow image, of an array uint8 [H, W, 3] in the order red, green, blue or [H, W] in grey, or of a file's path.

        An array is copied, so its memory may be used again; a Pillow image is not, so leave it as it is. `source` stands in the result,
        by default the path, or "image". Raises TypeError for anything else, SourceError for an array of another shape. Whether a
        file can be read shows in `load`.
        """
        if isinstance(image, str | os.PathLike):
            path = os.fspath(image)
            load = partial(load_image, path)
            return cls(source or path, index, load, taken, smaller=load)
        name = source or "image"
        if isinstance(image, Image.Image):
            return cls(name, index, partial(loaded, image, name), taken)
        if isinstance(image, np.ndarray):
            copied = _image_of(image, name)
            return cls(name, index, lambda: copied, taken)
        raise TypeError(f"{name}: expected a Pillow image, a numpy array or a path, found {type(image).__name__}")


def too_old(frame: Frame, now: float) -> bool:
    """Whether an answer to `frame` at `now`, by `board.clock`, would be about what is no longer so."""
    return frame.until is not None and now > frame.until


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What is asked of a camera: pixels, and frames a second. A file gives what it holds, a network stream no more than this."""

    width: int = 640
    height: int = 480
    rate: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One frame as a source's process hands it over: a whole JPEG, or `rgb` with three bytes a pixel, row by row.

    `sequence` is the source's own count; one that stands still or runs back tells of a camera that hangs. `taken` is in seconds since 1970,
    `stamp` the same moment in seconds of `board.clock`, which nobody sets. Of a JPEG `width` and `height` may be 0: it says so itself.
    """

    kind: Literal["jpeg", "rgb"]
    width: int
    height: int
    data: bytes | bytearray
    sequence: int
    taken: float = field(default_factory=time.time)
    stamp: float = field(default_factory=board.clock)


class LiveKind(Protocol):
    """A module that is one kind of live source.

    NATURE says how it is watched. A "camera" is started anew when it stops or repeats itself to the byte, a "stream" when it stops; what is
    "finite" has an end, gives every frame it holds, and alone may read standard input.
    """

    NATURE: Nature

    def check(self, word: str) -> None:
        """Returns when `word` makes sense and what it needs is here; else raises UsageError or SourceError with the remedy."""

    def shots(self, word: str, options: CaptureOptions) -> Iterator[Shot]:
        """The frames, in the source's own process. Raises SourceError or UsageError with the remedy."""


def _image_of(array: npt.NDArray[Any], name: str) -> Image.Image:
    """A copy of `array` as an image. Raises TypeError for other numbers than uint8, SourceError for a shape that is no image's."""
    if array.dtype != np.uint8:
        raise TypeError(f"{name}: expected an array of uint8, 0 to 255, found {array.dtype}; scale it and convert it first")
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise SourceError(
            f"{name}: expected an array [H, W, 3] or [H, W], found {list(array.shape)}; cut or reorder its axes first"
        )
    return Image.fromarray(array.copy())
