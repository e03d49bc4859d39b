"""`picamera2`: the board's own camera through the library of that name, which comes with Raspberry Pi OS and not from an index."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.sources import camera
from tflite_runtime_app.sources.base import CaptureOptions, Nature, Shot

NATURE: Nature = "camera"
TIMEOUT = 5.0  # seconds for one frame; a request that has run out of them stays queued, so the process is of no use any more
# libcamera names a format by the bits of a little-endian word: the first byte in memory is the last letter of the name.
FORMAT = "BGR888"
_ORDER = {"BGR888": (0, 1, 2), "RGB888": (2, 1, 0), "XBGR8888": (0, 1, 2), "XRGB8888": (2, 1, 0)}
_REMEDY = (
    "sudo apt install python3-picamera2 --no-install-recommends, and make the environment with "
    "/usr/bin/python3 -m venv --system-site-packages"
)


def check(word: str) -> None:
    """Returns when the library is there; else raises UsageError."""
    if importlib.util.find_spec("picamera2") is None:
        raise UsageError(f"picamera2: expected the library picamera2, found none; {_REMEDY}; or take the source rpi")


def as_rgb(array: npt.NDArray[np.uint8], libcamera_format: str) -> npt.NDArray[np.uint8]:
    """`array`, [height, width, 3 or 4] as it lies in memory, as R, G, B. Raises SourceError for a format this does not know."""
    order = _ORDER.get(libcamera_format)
    if order is None:
        raise SourceError(f"picamera2: expected pixels as {', '.join(_ORDER)}, found {libcamera_format}")
    return np.ascontiguousarray(array[..., order])


def shots(word: str, options: CaptureOptions) -> Iterator[Shot]:
    """The camera's frames, `sequence` being the sensor's own time. Raises SourceError when it is busy, absent, or does not answer."""
    device = _started(word, options)
    chosen = str(device.camera_configuration()["main"]["format"])
    while True:
        try:
            request = device.capture_request(wait=TIMEOUT)
        except TimeoutError:
            raise SourceError(
                f"{word}: the camera gave no frame for {TIMEOUT:g} s; check its cable and the power supply"
            ) from None
        try:
            array, stamp = as_rgb(request.make_array("main"), chosen), int(request.get_metadata()["SensorTimestamp"])
        finally:
            request.release()
        yield Shot("rgb", array.shape[1], array.shape[0], array.tobytes(), stamp, time.time())


def _started(word: str, options: CaptureOptions) -> Any:
    try:
        from picamera2 import Picamera2
    except ValueError as error:  # numpy.dtype size changed: the system's library was built for another numpy
        raise UsageError(
            f"{word}: picamera2 does not go with the numpy installed here ({error}); "
            "pip install -c constraints/rpi-bookworm.txt numpy"
        ) from error
    except ImportError as error:
        raise UsageError(f"{word}: picamera2 cannot be imported ({error}); {_REMEDY}; or take the source rpi") from error
    try:
        device = Picamera2()
        device.configure(
            device.create_video_configuration(
                main={"size": (options.width, options.height), "format": FORMAT}, controls={"FrameRate": options.rate}
            )
        )
        device.start()
        return device
    except (RuntimeError, IndexError, OSError) as error:
        reasons = f"{error} {error.__context__ or ''}"
        raise camera.explained(word, reasons) or SourceError(f"{word}: the camera did not start: {error}") from error
