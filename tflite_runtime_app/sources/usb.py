"""`usb`, `usb:1`, `/dev/video0`: cameras of Video4Linux."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sources import libav
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "camera"
SYSFS = "/sys/class/video4linux"
TIMEOUT = 10.0  # seconds; a camera in the cold takes a while for its first frame


def check(word: str) -> None:
    """Returns when PyAV and the device are there; else raises UsageError or SourceError."""
    libav.check(word)
    device(word)


def device(word: str, sysfs: str = SYSFS) -> str:
    """The path of the device that `word` names. Raises SourceError when there is none, naming those that are."""
    if word.startswith("/"):
        if not os.path.exists(word):
            raise SourceError(f"{word}: expected a video device, found none of that name; {_those_found(sysfs)}")
        return word
    number = int(word.partition(":")[2] or 0)
    found = cameras(sysfs)
    if number >= len(found):
        raise SourceError(
            f"{word}: expected {number + 1} USB camera{'s' if number else ''}, {_those_found(sysfs)}; check cable and power"
        )
    return found[number]


def cameras(sysfs: str = SYSFS) -> list[str]:
    """The device of each USB camera, in the order of their numbers: of the two or more nodes that a camera has, the one with frames.

    The numbers alone would not do: a Raspberry Pi has a dozen video devices that are no USB camera.
    """
    nodes = (
        Path(sysfs) / name for name in (os.listdir(sysfs) if os.path.isdir(sysfs) else ()) if re.fullmatch(r"video\d+", name)
    )
    usb = [node for node in nodes if "/usb" in os.path.realpath(node / "device") and _index(node) == 0]
    return [f"/dev/{node.name}" for node in sorted(usb, key=lambda node: int(node.name[5:]))]


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The camera's frames, as JPEGs where it can. Raises SourceError when it is busy, gone, or gives none."""
    asked = {"video_size": f"{options.width}x{options.height}", "framerate": f"{options.rate:g}"}
    path = device(word)
    # Cameras differ in what they can do; the driver takes the nearest size, but a wrong format or rate it may refuse.
    chain: tuple[dict[str, str], ...] = ({**asked, "input_format": "mjpeg"}, asked, {"video_size": asked["video_size"]}, {})
    yield from libav.shots(word, tuple(libav.Opening(path, "v4l2", one, TIMEOUT) for one in chain), options)
    raise SourceError(f"{word}: the camera gives no more frames; check its cable and its power supply")


def _index(node: Path) -> int:
    try:
        return int((node / "index").read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _those_found(sysfs: str) -> str:
    found = cameras(sysfs)
    return f"found {', '.join(found)}" if found else "found no USB camera"
