"""Which word is which live source, what is said when something is missing, and a red card through each of them."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app.live.live_feeds import LONG, OPTIONS, is_red, shown
from tflite_runtime_app.errors import SourceError, UsageError
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.sources import fake, is_live, live_kind, raw, usb

RED = (220, 20, 20)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("rpi", "rpicam"), ("picamera2", "picamera"), ("usb", "usb"), ("usb:1", "usb"), ("/dev/video0", "usb"),
        ("rtsp://h/x", "stream"), ("HTTP://h/", "stream"), ("https://h/x.mp4", "stream"), ("raw:2x2", "raw"), ("raw:", "raw"),
        ("a/b.MP4", "video"), ("b.mjpeg", "video"), ("fake:8x8", "fake"),
    ],
)  # fmt: skip
def test_a_word_finds_its_kind(word, kind):
    assert is_live(word)
    assert live_kind(word).__name__ == f"tflite_runtime_app.sources.{kind}"


def test_pictures_folders_and_patterns_are_not_live(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    for word in (
        "photo.jpg",
        "clips/*.mp4",
        str(tmp_path / "folder.mp4"),
        "usb.png",
        "./rpi",
        "/dev/videos",
        "usb:x",
        "ftp://h/x",
    ):
        assert not is_live(word)
    with pytest.raises(UsageError, match=r"expected a live source .*'photo.jpg'"):
        open_feed("photo.jpg", OPTIONS)


@pytest.mark.parametrize(
    ("word", "error", "remedy"),
    [
        ("rpi", UsageError, "sudo apt install rpicam-apps"),
        ("picamera2", UsageError, "sudo apt install python3-picamera2 --no-install-recommends"),
        ("/dev/video99", SourceError, "found no USB camera"),
        ("usb:41", SourceError, "expected 42 USB cameras"),
        ("absent.mp4", SourceError, "no such file"),
        ("rtsp:///x", UsageError, "rtsp://USER:PASSWORD@HOST:554/PATH"),
        ("http://[x/", UsageError, "expected an address with a host"),
        ("raw:640", UsageError, "expected raw:WIDTHxHEIGHT"),
        ("raw:0x5", UsageError, "expected raw:WIDTHxHEIGHT"),
        ("raw:99999x99999", UsageError, "up to 8192 each"),
        ("raw:4x4:gbr", UsageError, "expected raw:WIDTHxHEIGHT"),
        ("fake:8x8,fly=3", UsageError, "'fly=3'"),
        ("fake:0x8", UsageError, "expected fake:WIDTHxHEIGHT"),
    ],
)
def test_what_is_missing_or_badly_written_is_told_at_once_with_the_remedy(word, error, remedy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(error) as caught:
        open_feed(word, OPTIONS)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["rtsp://me:secret@h/x", "http://h/", "usb", "clip.mp4"])
def test_without_pyav_the_extra_is_named(word, monkeypatch, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'clip-rescue\[video\]'") as caught:
        open_feed(word, OPTIONS)
    assert "secret" not in str(caught.value)


def test_opening_a_source_imports_no_extra_here():
    code = (
        "import sys; from tflite_runtime_app.live.open_feed import open_feed, CaptureOptions\n"
        "open_feed('fake:8x8', CaptureOptions()).close(); open_feed('http://127.0.0.1:9/', CaptureOptions()).close()\n"
        "print({'av', 'picamera2', 'ai_edge_litert'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("kind", ["", ",jpeg"])
def test_fake_shows_a_red_card(kind):
    assert is_red(shown(f"fake:64x48,red{kind}"))


def test_fake_changes_with_every_picture():
    shots = fake.shots("fake:16x8,rate=10000", OPTIONS)
    assert len({bytes(next(shots).data) for _ in range(700)}) == 700


def piped(word: str, data: bytes) -> subprocess.CompletedProcess:
    """The feed of `word` in a program with `data` on its standard input: the colour of each image, then how it ended."""
    code = (
        "import sys; from tflite_runtime_app.live.open_feed import open_feed, CaptureOptions\n"
        "feed = open_feed(sys.argv[1], CaptureOptions())\n"
        "while feed.health().state != 'ended':\n"
        "    frame = feed.next(0.1)\n"
        "    if frame: print(frame.index, frame.load().size, frame.load().getpixel((0, 0)))\n"
        "print(feed.health().error or 'well', feed.health().dropped)\n"
    )
    return subprocess.run([sys.executable, "-c", code, word], input=data, cwd=ROOT, capture_output=True, timeout=LONG)


@pytest.mark.parametrize(("word", "order"), [("raw:5x3", 1), ("raw:5x3:bgr", -1)])
def test_raw_takes_every_picture_in_the_order_of_colours_that_was_named(word, order):
    cards = [RED, (1, 2, 3), (20, 220, 20)] * 40
    data = b"".join(bytes(card[::order]) * 15 for card in cards)
    lines = piped(word, data).stdout.decode().splitlines()
    assert lines == [*(f"{index} (5, 3) {card}" for index, card in enumerate(cards)), "well 0"]


@pytest.mark.parametrize(("data", "error"), [(b"x" * 30, "found 6 bytes at the end, after 2 frames"), (b"", "found it empty")])
def test_raw_tells_when_its_pictures_are_not_whole(data, error):
    assert error in piped("raw:2x2", data).stdout.decode().splitlines()[-1]


def test_raw_refuses_a_keyboard(monkeypatch):
    main, terminal = os.openpty()
    with os.fdopen(terminal) as keyboard, os.fdopen(main):
        monkeypatch.setattr(sys, "stdin", keyboard)
        with pytest.raises(UsageError, match="found a keyboard"):
            raw.check("raw:4x4")


def test_usb_counts_the_cameras_and_not_the_boards_own_devices(tmp_path):
    for number, where, index in (
        (0, "platform/unicam", 0),
        (1, "usb1/1-1", 0),
        (2, "usb1/1-1", 1),
        (10, "platform/codec", 0),
        (12, "usb1/1-2", 0),
    ):
        device = tmp_path / "devices" / where / f"v{number}"
        device.mkdir(parents=True)
        node = tmp_path / "class" / f"video{number}"
        node.mkdir(parents=True)
        (node / "device").symlink_to(device)
        (node / "index").write_text(f"{index}\n")
    sysfs = str(tmp_path / "class")
    assert usb.cameras(sysfs) == ["/dev/video1", "/dev/video12"]
    assert [usb.device(word, sysfs) for word in ("usb", "usb:0", "usb:1")] == ["/dev/video1", "/dev/video1", "/dev/video12"]
    with pytest.raises(SourceError, match=r"^usb:2: expected 3 USB cameras, found /dev/video1, /dev/video12; check cable"):
        usb.device("usb:2", sysfs)
    with pytest.raises(SourceError, match=r"^usb: expected 1 USB camera, found no USB camera"):
        usb.device("usb", str(tmp_path / "absent"))
