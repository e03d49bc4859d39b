"""What PyAV opens, for real: files written here, cameras on the loopback; a red card through each, and what is said when they fail."""

import errno
import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app.live.live_feeds import LONG, OPTIONS, RED, closing, everything, frames, is_red, shown, until
from tests.tflite_runtime_app.live.live_servers import http_camera, rtsp_camera, silent_server
from tflite_runtime_app.live.decode import decoded
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.sources import is_live, libav, live_kind, stream
from tflite_runtime_app.sources.base import CaptureOptions

PATIENT = Patience(start=LONG)
CODECS = {
    "mp4": "libx264",
    "mkv": "libx264",
    "mov": "mpeg4",
    "avi": "mjpeg",
    "webm": "libvpx",
    "ts": "mpeg2video",
    "mjpeg": "mjpeg",
}


def video(path: Path, pictures, codec: str | None = None) -> Path:
    """A film of these arrays at `path`, 25 a second."""
    codec = codec or CODECS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=25)
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for one in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(one, "rgb24")))
        container.mux(track.encode())
    return path


def card(color=RED, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def jpeg(width: int = 64, height: int = 48) -> bytes:
    file = io.BytesIO()
    Image.fromarray(card(width=width, height=height)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("suffix", CODECS)
def test_every_kind_of_file_shows_a_red_card(tmp_path, suffix):
    path = video(tmp_path / f"film.{suffix.upper()}", [card()] * 12, CODECS[suffix])
    assert is_live(str(path))
    shots = list(live_kind(str(path)).shots(str(path), OPTIONS))
    assert [shot.sequence for shot in shots] == list(range(12))
    assert all(is_red(decoded(shot, "film")) for shot in shots)


@pytest.mark.parametrize("suffix", ["mp4", "avi"])  # decoded in the source's process, and here
def test_every_frame_of_a_file_comes_once_and_in_its_colours(tmp_path, suffix):
    path = video(tmp_path / f"film.{suffix}", [card(RED if number < 20 else (20, 20, 220)) for number in range(40)])
    with closing(open_feed(str(path), CaptureOptions(8, 8, 1), PATIENT)) as feed:
        found = everything(feed)
        health = feed.health()
    assert [frame.index for frame in found] == list(range(40))
    assert all(is_red(frame.load()) for frame in found[:20])
    assert found[30].load().getpixel((9, 9)) == pytest.approx((20, 20, 220), abs=12)
    assert (health.state, health.restarts, health.dropped, health.error) == ("ended", 0, 0, "")


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (0, 1)), (180, (1, 1)), (-90, (1, 0))])
def test_a_film_of_a_telephone_held_upright_is_upright(tmp_path, degrees, corner):
    scene = card((20, 20, 20), 64, 32)
    scene[:16, :16] = RED
    path = video(tmp_path / "film.mp4", [scene] * 3)
    # The matrix of the track's header says how players turn it: here counter-clockwise by `degrees`.
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), -90: (0, -1)}[degrees]
    struct.pack_into(">5i", data, at, cos << 16, -sin << 16, 0, sin << 16, cos << 16)
    path.write_bytes(data)
    turned = decoded(next(iter(live_kind(str(path)).shots(str(path), OPTIONS))), "film")
    assert turned.size == ((32, 64) if degrees % 180 else (64, 32))
    x, y = (8 if corner[0] == 0 else turned.width - 8), (8 if corner[1] == 0 else turned.height - 8)
    assert turned.getpixel((x, y)) == pytest.approx(RED, abs=25)
    assert turned.getpixel((turned.width - 1 - x, turned.height - 1 - y)) == pytest.approx((20, 20, 20), abs=25)


def test_a_file_that_is_no_video_or_broken_ends_with_the_reason(tmp_path):
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    whole = video(tmp_path / "film.ts", [np.random.default_rng(n).integers(0, 256, (48, 64, 3), np.uint8) for n in range(20)])
    data = bytearray(whole.read_bytes())
    data[len(data) // 3 : len(data) // 2] = np.random.default_rng(1).bytes(len(data) // 2 - len(data) // 3)
    (tmp_path / "hurt.ts").write_bytes(data)
    with closing(open_feed(str(noise), OPTIONS, PATIENT)) as feed:
        assert everything(feed) == []
        assert feed.health().error == f"{noise}: expected video that FFmpeg can read, found something else"
    with closing(open_feed(str(tmp_path / "hurt.ts"), OPTIONS, PATIENT)) as feed:
        assert 0 < len(everything(feed)) <= 20
        assert feed.health().restarts == 0


@pytest.mark.parametrize("locked", [False, True])
def test_a_camera_of_mjpeg_over_http_shows_a_red_card_and_hides_its_password(locked):
    with (
        http_camera(jpeg(), locked=locked) as address,
        closing(open_feed(f"http://me:secret@{address}", OPTIONS, PATIENT)) as feed,
    ):
        frame = frames(feed, 3)[-1]
        assert is_red(frame.load())
        assert frame.source == f"http://***@{address}"
        assert feed.health().error == ""


@pytest.mark.parametrize("length", [True, False])
def test_a_camera_of_mjpeg_whose_frames_lack_their_ends_shows_a_red_card(length):
    """With Content-Length or without: FFmpeg finds the boundary."""
    with (
        http_camera(jpeg()[:-2], length=length) as address,
        closing(open_feed(f"http://{address}", OPTIONS, PATIENT)) as feed,
    ):
        assert all(is_red(frame.load()) for frame in frames(feed, 3))


@pytest.mark.parametrize("locked", [False, True])
def test_a_camera_of_rtsp_shows_a_red_card_over_tcp(tmp_path, locked):
    film = video(tmp_path / "film.ts", [card()] * 50).read_bytes()
    with rtsp_camera(film, locked=locked) as address:
        assert is_red(shown(f"rtsp://me:secret@{address}"))


def test_a_stream_that_stands_still_is_no_fault_and_one_that_ends_is_started_anew():
    with (
        http_camera(jpeg(), most=60) as address,
        closing(open_feed(f"http://{address}", OPTIONS, Patience(LONG, stall=0.5))) as feed,
    ):
        until(lambda: (feed.next(0.05), feed.health().error)[1])
        assert feed._index > 40  # over a second of the same image
        assert feed.health().error == f"http://{address}: it broke off; check the cable or the network"
        until(lambda: (feed.next(0.05), feed.health().restarts == 1 and feed.health().state == "live")[1])


def test_a_stream_gives_no_more_and_no_larger_pictures_than_asked(tmp_path):
    film = video(tmp_path / "film.ts", [card(width=640, height=320)] * 50).read_bytes()
    with rtsp_camera(film) as address:
        assert shown(f"rtsp://{address}", CaptureOptions(64, 64, 50)).size == (128, 64)
    with http_camera(jpeg()) as address:
        shots = stream.shots(f"http://{address}", CaptureOptions(64, 48, 5))
        stamps = [next(shots).taken for _ in range(8)]
    assert np.diff(stamps)[2:].mean() == pytest.approx(0.2, rel=0.35)


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [((1920, 1080), (640, 480), (853, 480)), ((640, 480), (640, 480), (640, 480)), ((320, 240), (640, 480), (320, 240))],
)
def test_what_is_shrunk_still_covers_what_was_asked(size, least, expected):
    assert libav.covering(*size, CaptureOptions(*least)) == expected


def ended(word: str) -> str:
    """The error of a source that never works."""
    with closing(open_feed(word, OPTIONS, Patience(tries=1, start=LONG))) as feed:
        assert everything(feed) == []
        error = feed.health().error
    assert error.startswith(word.replace("me:secret", "***"))
    assert "secret" not in error
    return error


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_camera_that_is_not_there_or_locked_is_told_apart(scheme):
    assert "Connection refused; check the address" in ended(f"{scheme}://me:secret@127.0.0.1:1/x")
    server = http_camera(jpeg(), locked=True) if scheme == "http" else rtsp_camera(b"", locked=True)
    with server as address:
        assert "the camera refuses who asks; write the address with USER:PASSWORD@" in ended(f"{scheme}://{address}")


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_camera_that_is_silent_is_told_after_its_time(scheme, monkeypatch):
    with silent_server() as address:
        opening = libav.Opening(f"{scheme}://{address}", timeout=0.5)
        with pytest.raises(libav.SourceError, match=r"no answer within 0\.5 s; check the network and the address"):
            next(libav.shots(opening.address, (opening,)))


def test_what_a_usb_camera_fails_with_is_explained():
    opening = libav.Opening("/dev/video3", "v4l2", timeout=10)
    for number, words in (
        (errno.EBUSY, "another program has it open; stop it (fuser /dev/video3"),
        (errno.EACCES, "sudo usermod -aG video $USER"),
        (errno.ENODEV, "check its name and its cable"),
    ):
        with pytest.raises(av.error.FFmpegError) as caught:
            av.error.err_check(-number, "/dev/video3")
        assert words in str(libav.explained("usb", caught.value, opening))


def test_a_usb_camera_that_cannot_do_what_was_asked_is_asked_for_less(tmp_path):
    # FFmpeg's raw video refuses a pixel format it does not know as a camera's driver does: with EINVAL.
    pixels = tmp_path / "pixels"
    pixels.write_bytes(card().tobytes() * 3)
    good = {"video_size": "64x48", "pixel_format": "rgb24"}
    chain = tuple(
        libav.Opening(str(pixels), "rawvideo", options) for options in ({**good, "pixel_format": "none of these"}, good)
    )
    shots = list(libav.shots("usb", chain))
    assert [(shot.width, shot.height, bytes(shot.data)) for shot in shots] == [(64, 48, card().tobytes())] * 3
    with pytest.raises(libav.SourceError, match="FFmpeg cannot read it: Invalid argument"):
        list(libav.shots("usb", chain[:1]))
