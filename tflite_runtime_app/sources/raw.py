"""`raw:640x480`, `raw:640x480:bgr`: bare pixels on standard input, three bytes each, row by row, from whatever program makes them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import numpy as np

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "finite"
MAX_SIDE = 8192
_WORD = re.compile(r"raw:(\d{1,5})x(\d{1,5})(?::(rgb|bgr))?")


def check(word: str) -> None:
    """Returns when `word` is well written and standard input is no keyboard; else raises UsageError."""
    layout(word)
    if sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(f"{word}: expected pixels on standard input, found a keyboard; pipe a program into it")


def layout(word: str) -> tuple[int, int, bool]:
    """Width, height, and whether blue comes first. Raises UsageError."""
    found = _WORD.fullmatch(word)
    if found is None or not (0 < int(found[1]) <= MAX_SIDE and 0 < int(found[2]) <= MAX_SIDE):
        raise UsageError(f"expected raw:WIDTHxHEIGHT or raw:WIDTHxHEIGHT:bgr, up to {MAX_SIDE} each, found {word!r}")
    return int(found[1]), int(found[2]), found[3] == "bgr"


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """Every frame on standard input. Raises SourceError when it ends within one, or held none."""
    width, height, blue_first = layout(word)
    size, sequence = width * height * 3, 0
    while data := sys.stdin.buffer.read(size):
        if len(data) < size:
            raise SourceError(
                f"{word}: expected frames of {size} bytes, found {len(data)} bytes at the end, after {sequence} frames; "
                "is it another size?"
            )
        if blue_first:
            data = np.frombuffer(data, np.uint8).reshape(-1, 3)[:, ::-1].tobytes()
        yield Shot("rgb", width, height, data, sequence)
        sequence += 1
    if sequence == 0:
        raise SourceError(f"{word}: expected frames on standard input, found it empty; did the program before the pipe fail?")
