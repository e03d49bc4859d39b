"""Where frames come from: one module per kind of source, picked by the word on the command line.

A new kind of still images is a module with `matches(word)` and `frames(word)`, added to `KINDS` before `image`; a new kind of live source
is a module with what `base.LiveKind` asks, added to `LIVE`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sources import fake, folder, image, pattern, picamera, raw, rpicam, stream, usb, video
from tflite_runtime_app.sources.base import Frame, LiveKind

KINDS = (folder, pattern, image)
LIVE: tuple[LiveKind, ...] = (rpicam, picamera, usb, stream, raw, fake, video)


def frames_of(word: str) -> Iterator[Frame]:
    """The frames of the source that `word` names. Raises SourceError, on the first step, when it names none."""
    kind = next(kind for kind in KINDS if kind.matches(word))
    yield from kind.frames(word)


def is_live(word: str) -> bool:
    """Whether `word` names a live source, and not images that lie there."""
    return any(kind.matches(word) for kind in LIVE)


def live_kind(word: str) -> LiveKind:
    """The kind of live source that `word` names. Raises UsageError when it names none."""
    for kind in LIVE:
        if kind.matches(word):
            return kind
    raise UsageError(
        f"expected a live source (rpi, picamera2, usb, /dev/video0, a video file, rtsp://…, http://…, raw:640x480), found {word!r}"
    )
