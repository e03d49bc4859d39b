"""How a source's process hands frames over its pipe: a header of fixed size, then the frame's bytes.

The reader believes nothing: a header that is not valid ends the conversation, and no more is allocated than one frame may take.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO, Literal

from tflite_runtime_app.sources.base import Shot

MAGIC = b"CRF2"
HEADER = struct.Struct("<4sIIIIQdd")  # magic, kind, width, height, bytes that follow, sequence, seconds since 1970, stamp
MAX_SIDE = 16384
MAX_BYTES = 64 << 20  # 5120 x 2880 in RGB fit
_KINDS: dict[int, Literal["jpeg", "rgb"]] = {1: "jpeg", 2: "rgb"}
_CODES = {kind: code for code, kind in _KINDS.items()}


class WireError(Exception):
    """What came through the pipe is no frame; one line says why."""


def write(out: BinaryIO, shot: Shot) -> None:
    """`shot` has gone into the pipe. Raises OSError when nobody reads any more."""
    numbers = (_CODES[shot.kind], shot.width, shot.height, len(shot.data), shot.sequence, shot.taken, shot.stamp)
    out.write(HEADER.pack(MAGIC, *numbers))
    out.write(shot.data)
    out.flush()


class Reader:
    """Puts shots together from pieces of any size: fill some of `space()`, say how much with `filled()`, and again."""

    def __init__(self) -> None:
        self._header: Shot | None = None  # the shot whose data is being filled
        self._buffer = bytearray(HEADER.size)
        self._have = 0

    @property
    def empty(self) -> bool:
        """Whether the pipe may end here: nothing of a shot has come yet."""
        return self._header is None and self._have == 0

    def space(self) -> memoryview:
        """Where the next bytes belong, at least one."""
        return memoryview(self._buffer)[self._have :]

    def filled(self, count: int) -> Shot | None:
        """`count` bytes more have come; the shot, when it is now whole. Raises WireError, after which the reader is of no use."""
        self._have += count
        if self._have < len(self._buffer):
            return None
        whole, self._have = self._header, 0
        if whole is None:
            self._header, self._buffer = _opened(self._buffer)
        else:
            self._header, self._buffer = None, bytearray(HEADER.size)
        return whole


def _opened(header: bytes | bytearray) -> tuple[Shot, bytearray]:
    """The shot that `header` announces, and its data, still to be filled."""
    magic, code, width, height, length, sequence, taken, stamp = HEADER.unpack(header)
    kind = _KINDS.get(code)
    if magic != MAGIC or kind is None:
        raise WireError(f"expected a frame on the pipe, found {bytes(header[:8])!r}")
    least = 0 if kind == "jpeg" else 1
    timed = math.isfinite(taken) and math.isfinite(stamp)
    if not (least <= width <= MAX_SIDE and least <= height <= MAX_SIDE and 1 <= length <= MAX_BYTES and timed):
        raise WireError(f"expected a frame of up to {MAX_SIDE} x {MAX_SIDE}, found {width} x {height} in {length} bytes")
    if kind == "rgb" and length != width * height * 3:
        raise WireError(f"expected {width * height * 3} bytes for {width} x {height}, found {length}")
    data = bytearray(length)
    return Shot(kind, width, height, data, sequence, taken, stamp), data
