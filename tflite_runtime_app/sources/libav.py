"""Whatever FFmpeg opens, through PyAV: devices, streams and video files, as shots."""

from __future__ import annotations

import errno
import importlib.util
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources import camera
from tflite_runtime_app.sources.address import ENCODE, hide_credentials, shown
from tflite_runtime_app.sources.base import CaptureOptions, Shot
from tflite_runtime_app.sources.pace import Pace


@dataclass(frozen=True, slots=True)
class Opening:
    """How FFmpeg opens `address`: as `container` (None: it finds out), with `options`, and `timeout` seconds a step (None: for ever)."""

    address: str
    container: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None


def check(word: str) -> None:
    """Returns when PyAV is there; else raises UsageError."""
    if importlib.util.find_spec("av") is None:
        raise UsageError(f"{shown(word)}: expected PyAV, found none; pip install 'clip-rescue[video]'")


def shots(word: str, openings: tuple[Opening, ...], thin: CaptureOptions | None = None) -> Iterator[Shot]:
    """The frames of the first of `openings` that FFmpeg accepts; JPEGs as they are, all else decoded to RGB, upright.

    `thin` leaves out what comes faster than its rate, and shrinks what is larger than its size in both directions. What is broken in
    between is left out, and reported when all is over. Raises SourceError with the remedy.
    """
    import av

    try:
        with _open(word, openings) as container:
            yield from _shots(word, container, thin)
    except av.error.FFmpegError as error:
        raise explained(word, error, openings[0]) from error


def explained(word: str, error: Exception, opening: Opening) -> SourceError:
    """What FFmpeg's `error` means for who wrote `word`."""
    where, code = shown(word), getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error)
    kind = type(error).__name__
    if code == errno.EBUSY:
        return camera.busy(word, opening.address)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return SourceError(
            f"{where}: expected a source that is there, found: {hide_credentials(reason)}; check its name and its cable"
        )
    if code in (errno.EACCES, errno.EPERM):
        return SourceError(f"{where}: may not be opened; sudo usermod -aG video $USER, then log in again")
    if kind == "ExitError" or code == errno.ETIMEDOUT:  # FFmpeg left because our time was up
        return _silent(word, opening)
    if code == errno.EIO:
        return SourceError(f"{where}: it broke off; check the cable or the network{_hint(word)}")
    if kind in ("HTTPUnauthorizedError", "HTTPForbiddenError"):
        return SourceError(f"{where}: the camera refuses who asks; write the address with USER:PASSWORD@ before the host")
    if kind in ("InvalidDataError", "EOFError"):
        return SourceError(f"{where}: expected video that FFmpeg can read, found something else")
    return SourceError(
        f"{where}: FFmpeg cannot read it: {hide_credentials(reason)}; check the address and whether it answers{_hint(word)}"
    )


def _silent(word: str, opening: Opening) -> SourceError:
    return SourceError(
        f"{shown(word)}: no answer within {opening.timeout or 0:g} s; check the network and the address{_hint(word)}"
    )


def _hint(word: str) -> str:
    """More advice, where a password may have cut the address short."""
    return f"; {ENCODE}" if re.search(r"://[^/?#]*[/?#].*@", word) else ""


def _open(word: str, openings: tuple[Opening, ...]) -> Any:
    import av

    last = openings[-1]
    for opening in openings:
        began = time.monotonic()
        try:
            return av.open(opening.address, format=opening.container, options=opening.options, timeout=opening.timeout)
        except av.error.InvalidDataError as error:
            if opening.timeout is not None and time.monotonic() - began >= opening.timeout:
                raise _silent(word, opening) from error  # of RTSP, FFmpeg takes silence for bad data
            raise
        except ValueError:  # EINVAL: a camera that cannot do what was asked; the next opening asks for less
            if opening is last:
                raise
    raise AssertionError("no opening at all")


def _shots(word: str, container: Any, thin: CaptureOptions | None) -> Iterator[Shot]:
    import av

    if not container.streams.video:
        raise SourceError(f"{shown(word)}: expected video, found a file or stream without any")
    stream = container.streams.video[0]
    frames = _jpegs if stream.codec_context.name == "mjpeg" else _decoded
    due = Pace(thin.rate) if thin else None
    sequence = broken = 0
    for packet in container.demux(stream):
        try:
            for kind, width, height, data in frames(packet, thin, due):
                yield Shot(kind, width, height, data, sequence)
                sequence += 1
        except av.error.InvalidDataError:
            broken += 1
    if sequence == 0:
        raise SourceError(f"{shown(word)}: expected video, found no frame that FFmpeg can decode")
    if broken:
        raise SourceError(f"{shown(word)}: {broken} broken parts were left out, {sequence} frames were read")


_Frame = tuple[Literal["jpeg", "rgb"], int, int, bytes]


def _jpegs(packet: Any, thin: CaptureOptions | None, due: Pace | None) -> Iterator[_Frame]:
    """The packet itself: whoever looks at it decodes it, and most frames of a camera nobody looks at."""
    if packet.size and (due is None or due(time.monotonic())):
        yield "jpeg", 0, 0, bytes(packet)


def _decoded(packet: Any, thin: CaptureOptions | None, due: Pace | None) -> Iterator[_Frame]:
    for frame in packet.decode():
        if due is None or due(time.monotonic()):
            width, height = (frame.width, frame.height) if thin is None else covering(frame.width, frame.height, thin)
            pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
            # A telephone held upright writes its video lying, with a note on how to turn it; PyAV before 14 does not read it.
            upright = np.ascontiguousarray(np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90)))
            yield "rgb", upright.shape[1], upright.shape[0], upright.tobytes()


def covering(width: int, height: int, least: CaptureOptions) -> tuple[int, int]:
    """The size a frame of width x height is shrunk to so that it still covers `least`, its shape kept; never larger than it is."""
    ratio = min(1.0, max(least.width / width, least.height / height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))
