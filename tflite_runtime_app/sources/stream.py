"""`rtsp://…`, `http://…`, `https://…`: cameras on the network."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources import libav
from tflite_runtime_app.sources.address import ENCODE, mistaken, shown
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "stream"
TIMEOUT = 10.0  # seconds for an answer


def check(word: str) -> None:
    """Returns when PyAV is there and the address has a host; else raises UsageError. Nobody is asked yet."""
    if mistaken(word):
        raise UsageError(f"{shown(word)}: expected a host, found that its user or password cuts it short; {ENCODE}")
    try:
        parts = urlsplit(word)
        host = parts.hostname if (parts.port or 1) > 0 else None  # a port that is none raises
    except ValueError:
        host = None
    if not host:
        raise UsageError(
            f"{shown(word)}: expected an address with a host and at most a port, as rtsp://USER:PASSWORD@HOST:554/PATH; {ENCODE}"
        )
    libav.check(word)


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The stream's frames, no more and no larger than asked. Raises SourceError when it does not answer, refuses, or ends."""
    # Over UDP, lost packets smear half a frame; and many a wireless network lets none through.
    rtsp = {"rtsp_transport": "tcp"} if word.lower().startswith("rtsp") else {}
    yield from libav.shots(word, (libav.Opening(word, None, rtsp, TIMEOUT),), options)
    raise SourceError(f"{shown(word)}: the stream ended")
