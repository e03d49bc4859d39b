"""`rpi`: the board's own camera through the program rpicam-vid, which needs nothing of Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sources import camera
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot
from tflite_runtime_app.sources.mjpeg import Splitter

NATURE: Nature = "camera"
PROGRAMS = ("rpicam-vid", "libcamera-vid")  # the second is its name before 2024
MAX_STRAY = 4 << 20  # bytes without one JPEG, after which it is no MJPEG at all


def check(word: str) -> None:
    """Returns when the program is there; else raises UsageError."""
    program()


def program() -> str:
    """The path of rpicam-vid, by its new or its old name. Raises UsageError when there is neither."""
    for name in PROGRAMS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise UsageError(f"rpi: expected the program {' or '.join(PROGRAMS)}, found neither; sudo apt install rpicam-apps")


def command(path: str, options: CaptureOptions) -> list[str]:
    """What is run: MJPEG on its standard output until it is killed, without a preview."""
    size = ["--width", str(options.width), "--height", str(options.height), "--framerate", f"{options.rate:g}"]
    return [path, "-n", "-t", "0", "--codec", "mjpeg", *size, "-o", "-"]


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The JPEGs of rpicam-vid. Raises SourceError when it ends, with what it said last."""
    path = program()
    process = subprocess.Popen(
        command(path, options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None and process.stderr is not None
    said: deque[str] = deque(maxlen=20)
    relay = threading.Thread(target=_relay, args=(process.stderr, said), daemon=True)
    relay.start()
    try:
        splitter, sequence = Splitter(), 0
        while data := os.read(process.stdout.fileno(), 1 << 16):
            for jpeg in splitter.feed(data):
                yield Shot("jpeg", 0, 0, jpeg, sequence)
                sequence += 1
            if sequence == 0 and splitter.skipped > MAX_STRAY:
                raise SourceError(f"{word}: expected MJPEG of {path}, found other bytes; sudo apt upgrade rpicam-apps")
        relay.join(1)
        raise _ended(word, process.wait(), said)
    finally:
        process.kill()


def _relay(errors: IO[bytes], said: deque[str]) -> None:
    for line in errors:
        said.append(line.decode(errors="replace").strip())
        print(escaped(said[-1]), file=sys.stderr, flush=True)


def _ended(word: str, code: int, said: deque[str]) -> SourceError:
    known = camera.explained(word, "\n".join(said))
    last = next((line for line in reversed(said) if line), "nothing")
    return known or SourceError(f"{word}: rpicam-vid ended with code {code}; it said: {last}")
