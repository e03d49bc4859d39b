"""Which kind of live source a word names, told without loading one: each kind brings libraries that a picture can do without."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable

USB = re.compile(r"usb(?::(\d+))?|/dev/video\d+")  # usb, usb:N (the Nth, from 0), or a video device
VIDEOS = frozenset({".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".ts", ".webm"})
_STREAM = re.compile(r"(rtsp|https?)://", re.IGNORECASE)


def _is_video(word: str) -> bool:
    """Whether `word` ends like a video file; a folder or a pattern does not count."""
    if os.path.splitext(word)[1].lower() not in VIDEOS or ("://" in word and not os.path.exists(word)):
        return False
    return not os.path.isdir(word) and (os.path.exists(word) or not glob.has_magic(word))


# A module of this folder, and the words that are its own, well or badly written; the first that takes a word has it.
LIVE: dict[str, Callable[[str], bool]] = {
    "rpicam": lambda word: word == "rpi",
    "picamera": lambda word: word == "picamera2",
    "usb": lambda word: USB.fullmatch(word) is not None,
    "stream": lambda word: _STREAM.match(word) is not None,
    "raw": lambda word: word.startswith("raw:"),
    "fake": lambda word: word.startswith("fake:"),
    "video": _is_video,
}
