"""`fake:64x48,rate=100,stall=50`: a camera that is none, for tests and for soaking; it misbehaves on a schedule.

A number counts frames: stall=50 gives 50 and then nothing, repeat=50 the 50th for ever, back=50 goes on with older numbers, die=50 ends
with an error, killed=50 is killed as for want of memory, garbage=50 says of a frame what cannot be, broken=50 sends every 50th as half a
JPEG, end=50 ends well. slow=2.5 waits seconds before the first. Without a number: jpeg, red (the same red card again and again),
hang-on-term (SIGTERM does nothing).
"""

from __future__ import annotations

import io
import os
import re
import signal
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "camera"
RED = (220, 20, 20)
_COUNTS = ("stall", "repeat", "back", "die", "killed", "garbage", "broken", "end")
_NUMBERS = ("rate", "slow", *_COUNTS)
_FLAGS = ("jpeg", "red", "hang-on-term")


def check(word: str) -> None:
    """Returns when `word` is well written; else raises UsageError."""
    schedule(word)


def schedule(word: str) -> tuple[int, int, dict[str, float]]:
    """Width, height, and each thing to do with its number, 1 for those without. Raises UsageError."""
    size, *parts = word.removeprefix("fake:").split(",")
    sides = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    plan: dict[str, float] = {}
    for part in parts:
        name, _, number = part.partition("=")
        known = (name in _FLAGS and not number) or (name in _NUMBERS and re.fullmatch(r"\d+(\.\d+)?", number))
        if not known:
            raise UsageError(f"expected {', '.join((*(f'{one}=N' for one in _NUMBERS), *_FLAGS))} after fake:WxH, found {part!r}")
        plan[name] = float(number or 1)
    if sides is None or not int(sides[1]) or not int(sides[2]) or plan.get("rate", 1) <= 0:
        raise UsageError(f"expected fake:WIDTHxHEIGHT with what it shall do, as fake:64x48,rate=100,stall=50, found {word!r}")
    return int(sides[1]), int(sides[2]), plan


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The frames, as the schedule in `word` has it."""
    width, height, plan = schedule(word)
    if "hang-on-term" in plan:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(plan.get("slow", 0))
    due, seed, sequence = time.monotonic(), time.time_ns(), 0
    while True:
        if sequence:
            _misbehave(word, plan, sequence)
        if sequence == plan.get("end"):
            return
        shown = min(sequence, int(plan.get("repeat", sequence + 1)) - 1)
        pixels = np.full((height, width, 3), RED, np.uint8) if "red" in plan else _pattern(width, height, seed + shown)
        number = sequence - 2 * int(plan["back"]) if sequence == plan.get("back") else sequence
        yield _shot(pixels, plan, sequence, max(0, number))
        sequence += 1
        due += 1 / plan.get("rate", options.rate)
        time.sleep(max(0.0, due - time.monotonic()))


def _misbehave(word: str, plan: dict[str, float], sequence: int) -> None:
    while sequence == plan.get("stall"):
        time.sleep(60)
    if sequence == plan.get("die"):
        raise SourceError(f"{word}: the camera was unplugged; plug it in again")
    if sequence == plan.get("killed"):
        os.kill(os.getpid(), signal.SIGKILL)


def _pattern(width: int, height: int, step: int) -> npt.NDArray[np.uint8]:
    """A gradient that moves: no two steps within a minute are alike."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    planes = np.broadcast_arrays(columns * 3 + step, rows * 5 + step // 256, columns + rows + step // 65536)
    pattern: npt.NDArray[np.uint8] = np.stack(planes, axis=-1).astype(np.uint8)
    return pattern


def _shot(pixels: npt.NDArray[np.uint8], plan: dict[str, float], sequence: int, number: int) -> Shot:
    height, width, _ = pixels.shape
    data = pixels.tobytes()
    if sequence == plan.get("garbage"):
        return Shot("rgb", 1 << 30, 1 << 30, b"no frame", number)
    half = "broken" in plan and sequence % int(plan["broken"]) == int(plan["broken"]) - 1
    if "jpeg" not in plan and not half:
        return Shot("rgb", width, height, data, number)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    jpeg = file.getvalue()
    return Shot("jpeg", 0, 0, jpeg[: len(jpeg) // 2] if half else jpeg, number)
