"""Where frames come from: one module per kind of source, picked by the word on the command line.

A new kind of still images is a module with `matches(word)` and `frames(word)`, added to `KINDS` before `image`; a new kind of live source
is a module with what `base.LiveKind` asks, its words added to `LIVE`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources.address import shown
from tflite_runtime_app.sources.words import LIVE

if TYPE_CHECKING:
    from tflite_runtime_app.sources.base import Frame, LiveKind

KINDS = ("folder", "pattern", "image")  # a module of this folder each; the first that takes a word has it


def frames_of(word: str) -> Iterator[Frame]:
    """The frames of the source that `word` names. Raises SourceError, on the first step, when it names none."""
    refuse_addresses(word)
    kind = next(kind for kind in map(_module, KINDS) if kind.matches(word))
    yield from kind.frames(word)


def refuse_addresses(word: str) -> None:
    """Returns when `word` may name a file. Raises SourceError, which says no password, when it is an address of another kind."""
    if ("://" in word or shown(word) != word) and not os.path.exists(word):
        raise SourceError(
            f"{shown(word)}: expected an image, a folder or a pattern, or a live rtsp://… or http://…, found none of these"
        )


def left_out_of(word: str) -> str:
    """What of a folder's images is not read here, and what to do about it; empty for anything else. Raises SourceError as `frames_of`."""
    folder = _module("folder")
    return str(folder.left_out(word)) if folder.matches(word) else ""


def is_live(word: str) -> bool:
    """Whether `word` names a live source, and not images that lie there."""
    return any(matches(word) for matches in LIVE.values())


def live_kind(word: str) -> LiveKind:
    """The kind of live source that `word` names. Raises UsageError when it names none."""
    for name, matches in LIVE.items():
        if matches(word):
            kind: LiveKind = _module(name)
            return kind
    raise UsageError(
        "expected a live source (rpi, picamera2, usb, /dev/video0, a video file, rtsp://…, http://…, raw:640x480), "
        f"found {shown(word)!r}"
    )


def _module(name: str) -> Any:
    """The module of this folder: loaded now, for whoever only asks what a word is does without numpy and Pillow."""
    return import_module(f"{__name__}.{name}")
