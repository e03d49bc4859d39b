"""Cameras: which are there, may this user open them, and are red and blue the right way round."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tflite_runtime_app.checks import Check
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.sources.base import CaptureOptions

LISTERS = ("rpicam-hello", "libcamera-hello")
PATIENCE = 20.0  # seconds for a camera's first frame
CLEAR = 1.4  # times as much of one colour as of the other, to be sure


def checks() -> Iterator[Check]:
    """All of them."""
    yield pi_cameras()
    yield devices(sorted(glob.glob("/dev/video*")))


def pi_cameras() -> Check:
    """What the Raspberry Pi's own camera program sees."""
    program = next((found for name in LISTERS if (found := shutil.which(name))), None)
    if program is None:
        return Check("Pi camera", "note", "no rpicam-apps", "for the source rpi: sudo apt install rpicam-apps")
    try:
        said = subprocess.run([program, "--list-cameras"], capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(
            "Pi camera",
            "bad",
            f"{program} does not answer ({type(error).__name__})",
            "check the ribbon cable, then restart the board",
        )
    return listed(said.stdout + said.stderr)


def listed(said: str) -> Check:
    """The cameras in what `rpicam-hello --list-cameras` says."""
    cameras = [line.strip() for line in said.splitlines() if line[:1].isdigit() and " : " in line]
    if cameras:
        return Check("Pi camera", "ok", "; ".join(cameras)[:100])
    return Check(
        "Pi camera", "note", "none found", "check the ribbon cable's side and that it is pressed in; then restart the board"
    )


def devices(paths: list[str]) -> Check:
    """V4L2 devices, and whether they may be opened."""
    if not paths:
        return Check("USB camera", "note", "no /dev/video*", "plug one in, if you want the source usb")
    shut = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
    if shut:
        return Check(
            "USB camera", "bad", f"{', '.join(shut)} may not be opened", "sudo usermod -aG video $USER, then log in anew"
        )
    return Check("USB camera", "ok", ", ".join(paths))


def red_card(word: str) -> Check:
    """One frame of the source, something red held before it."""
    feed = None
    try:
        feed = open_feed(word, CaptureOptions())
        frame = feed.next(PATIENCE)
        if frame is None:
            return Check(
                "red card", "bad", f"no frame: {feed.health().error or 'nothing came'}", "look at the lines above about cameras"
            )
        return colour_order(frame.load())
    except AppError as error:
        return Check("red card", "bad", str(error))
    finally:
        if feed is not None:
            feed.close()


def colour_order(image: Image.Image) -> Check:
    """Whether the middle of an image of something red is red."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    height, width, _ = pixels.shape
    middle = pixels[height // 4 : 3 * height // 4 + 1, width // 4 : 3 * width // 4 + 1]
    red, green, blue = (float(value) for value in middle.reshape(-1, 3).mean(0))
    found = f"red {red:.0f}, green {green:.0f}, blue {blue:.0f} in the middle"
    if red > CLEAR * blue and red > green:
        return Check("red card", "ok", found)
    if blue > CLEAR * red:
        return Check(
            "red card",
            "bad",
            f"{found}: red and blue are swapped",
            "for raw frames say raw:WIDTHxHEIGHT:bgr; else report it, it is our fault",
        )
    return Check("red card", "note", f"{found}: not clearly red", "hold something bright red close to the camera, in good light")
