"""`rtsp://…`, `http://…`, `https://…`: cameras on the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources import libav
from tflite_runtime_app.sources.address import hide_credentials
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "stream"
TIMEOUT = 10.0  # seconds for an answer


def matches(word: str) -> bool:
    """Whether `word` is such an address."""
    return re.match(r"(rtsp|https?)://", word, re.IGNORECASE) is not None


def check(word: str) -> None:
    """Returns when PyAV is there and the address has a host; else raises UsageError. Nobody is asked yet."""
    try:
        host = urlsplit(word).hostname
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"{hide_credentials(word)}: expected an address with a host, as rtsp://USER:PASSWORD@HOST:554/PATH")
    libav.check(word)


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The stream's frames, no more and no larger than asked. Raises SourceError when it does not answer, refuses, or ends."""
    # Over UDP, lost packets smear half a frame; and many a wireless network lets none through.
    rtsp = {"rtsp_transport": "tcp"} if word.lower().startswith("rtsp") else {}
    yield from libav.shots(word, (libav.Opening(word, None, rtsp, TIMEOUT),), options)
    raise SourceError(f"{hide_credentials(word)}: the stream ended")
