"""The board's own camera, by rpicam-vid and by picamera2, with stand-ins for both: a red card, and whatever they are known to fail with."""

import os
import stat
import sys

import numpy as np
import pytest

from tests.tflite_runtime_app.live.live_feeds import LONG, OPTIONS, alive, closing, everything, frames, is_red, shown, until
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.sources import picamera, rpicam
from tflite_runtime_app.sources.base import CaptureOptions

PROGRAM = f"""#!{sys.executable}
import io, os, sys, time
sys.path[:] = {sys.path!r}
from PIL import Image
DO = open(__file__ + ".do").read()
if DO == "busy":
    print("[0:19:06] [2746]  INFO Camera camera.cpp:839 Pipeline handler in use by another process", file=sys.stderr)
    sys.exit("ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/ov5647@36 ***")
if DO == "absent":
    sys.exit("ERROR: *** no cameras available ***")
if DO == "odd":
    sys.exit("ERROR: *** something else ***\\n")
with open(__file__ + ".pids", "a") as file:
    print(os.getpid(), file=file)
words = dict(zip(sys.argv[1::1], sys.argv[2::1]))
assert "-n" in sys.argv and words["-t"] == "0" and words["--codec"] == "mjpeg" and words["-o"] == "-", sys.argv
size, period = (int(words["--width"]), int(words["--height"])), 1 / float(words["--framerate"])
thumbnail = io.BytesIO()
Image.new("RGB", (16, 16), (20, 20, 220)).save(thumbnail, "JPEG")
number = 0
while True:
    file = io.BytesIO()
    card = Image.new("RGB", size, (220, 20, 20))
    card.putpixel((number % size[0], 0), (225, 25, 25))
    inner = b"Exif\\0\\0" + thumbnail.getvalue()
    card.save(file, "JPEG", quality=95)
    data = file.getvalue()
    data = data[:2] + b"\\xff\\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    number += 1
    if DO == "hang" and number == 5:
        time.sleep(100)
    time.sleep(period)
"""


@pytest.fixture
def camera_program(tmp_path, monkeypatch):
    """A stand-in for rpicam-vid on the path that does what it is told."""

    def install(do: str, name: str = "rpicam-vid") -> None:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (program.parent / f"{name}.do").write_text(do)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin:/bin")

    return install


@pytest.mark.parametrize("name", rpicam.PROGRAMS)
def test_rpi_shows_a_red_card_by_either_name_of_its_program(camera_program, name):
    camera_program("well", name)
    picture = shown("rpi", CaptureOptions(80, 60, 20))
    assert picture.size == (80, 60)
    assert is_red(picture)


def test_rpi_is_started_anew_when_its_program_hangs_and_none_is_left_behind(camera_program, tmp_path):
    camera_program("hang")
    with closing(open_feed("rpi", OPTIONS, Patience(stall=0.5, start=LONG))) as feed:
        frames(feed, 1)
        until(lambda: (feed.next(0.05), feed.health().restarts == 1 and feed.health().state == "live")[1])
        first, second = map(int, (tmp_path / "bin" / "rpicam-vid.pids").read_text().split())
        assert (alive(first), alive(second)) == (False, True)
    until(lambda: not alive(second), 1)


@pytest.mark.parametrize(
    ("do", "error"),
    [
        ("busy", "the camera is busy: another program has it open; stop it (fuser /dev/video0"),
        ("absent", "expected a camera, found none; check its cable"),
        ("odd", "rpicam-vid ended with code 1; it said: ERROR: *** something else ***"),
    ],
)
def test_rpi_says_why_its_program_ended_and_gives_up(camera_program, do, error):
    camera_program(do)
    with closing(open_feed("rpi", OPTIONS, Patience(tries=2, first=0.05, start=LONG))) as feed:
        assert everything(feed) == []
        assert feed.health().error.startswith("rpi: ")
        assert error in feed.health().error


LIBRARY = """
import time
import numpy as np

MEMORY = {{
    "YUV420": (0, 0, 0),
    "BGR888": (220, 20, 20), "RGB888": (20, 20, 220), 
    "XBGR8888": (220, 20, 20, 255), "XRGB8888": (20, 20, 220, 255),
}}

class Request:
    def __init__(self, camera): self.camera = camera
    def make_array(self, stream):
        assert stream == "main"
        width, height = self.camera.size
        array = np.full((height, width, len(MEMORY[self.camera.format])), MEMORY[self.camera.format], np.uint8)
        array[0, 0, 0] = self.camera.number % 200
        return array
    def get_metadata(self): return {{"SensorTimestamp": self.camera.number * 1000}}
    def release(self): self.camera.held -= 1

class Picamera2:
    number = held = 0
    def __init__(self):
        if "{do}" == "busy":
            try:
                raise RuntimeError("camera.acquire() returned unexpected code: -16")
            except Exception:
                raise RuntimeError("Camera __init__ sequence did not complete.")
        if "{do}" == "absent": [][0]
    def create_video_configuration(self, main, controls): return {{"main": main, "controls": controls}}
    def configure(self, configuration):
        self.size, self.format = configuration["main"]["size"], configuration["main"]["format"]
        if "{do}" in MEMORY: self.format = "{do}"
        assert configuration["controls"]["FrameRate"] == 50
    def camera_configuration(self): return {{"main": {{"format": self.format}}}}
    def start(self): pass
    def capture_request(self, wait):
        assert self.held == 0 and wait is not True and wait > 0
        time.sleep(0.02)
        if "{do}" == "silent": raise TimeoutError
        if "{do}" != "stuck" or self.number < 5: self.number += 1
        self.held += 1
        return Request(self)
"""


@pytest.fixture
def camera_library(tmp_path, monkeypatch):
    """A stand-in for the library picamera2, with its interface as far as it is used."""

    def install(do: str, text: str = LIBRARY) -> None:
        folder = tmp_path / "library"
        folder.mkdir()
        (folder / "picamera2.py").write_text(text.format(do=do))
        monkeypatch.syspath_prepend(folder)

    return install


@pytest.mark.parametrize("layout", ["", "BGR888", "RGB888", "XBGR8888", "XRGB8888"])
def test_picamera2_shows_a_red_card_however_the_bytes_lie_in_memory(camera_library, layout):
    camera_library(layout)
    picture = shown("picamera2")
    assert picture.size == (64, 48)
    assert is_red(picture.crop((1, 1, 64, 48)))


def test_picamera2_that_repeats_its_last_picture_is_started_anew(camera_library):
    camera_library("stuck")
    with closing(open_feed("picamera2", OPTIONS, Patience(stall=0.5, start=LONG))) as feed:
        frames(feed, 1)
        until(lambda: "the same frame for 0.5 s" in (feed.next(0.02), feed.health().error)[1])
        until(lambda: (feed.next(0.02), feed.health().restarts and feed.health().state == "live")[1])


@pytest.mark.parametrize(
    ("do", "error"),
    [
        ("busy", "the camera is busy"),
        ("absent", "expected a camera, found none"),
        ("silent", "the camera gave no frame for 5 s; check its cable and the power supply"),
        ("YUV420", "expected pixels as"),
    ],
)
def test_picamera2_says_why_it_does_not_work(camera_library, do, error):
    camera_library(do)
    with closing(open_feed("picamera2", OPTIONS, Patience(tries=1, start=LONG))) as feed:
        assert everything(feed) == []
        assert error in feed.health().error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('numpy.dtype size changed, Expected 96 from C header, got 88')", "constraints/rpi-bookworm.txt"),
        ("import libcamera_that_is_not_here", "--system-site-packages"),
    ],
)
def test_picamera2_that_cannot_be_imported_is_not_tried_again(camera_library, text, error):
    camera_library("", text)
    with closing(open_feed("picamera2", OPTIONS, Patience(start=LONG))) as feed:
        assert everything(feed) == []
        assert (error in feed.health().error, feed.health().restarts) == (True, 0)


def test_as_rgb_orders_the_bytes_of_memory_by_the_name_of_the_format():
    bytes_of_red = {"BGR888": [9, 5, 1], "RGB888": [1, 5, 9], "XBGR8888": [9, 5, 1, 255], "XRGB8888": [1, 5, 9, 255]}
    for name, pixel in bytes_of_red.items():
        rgb = picamera.as_rgb(np.array([[pixel, pixel]], np.uint8), name)
        assert rgb.flags.c_contiguous
        assert rgb.tolist() == [[[9, 5, 1], [9, 5, 1]]]
    with pytest.raises(SourceError, match="found YUV420"):
        picamera.as_rgb(np.zeros((2, 2, 3), np.uint8), "YUV420")
