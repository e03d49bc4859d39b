"""The parts of live capture that need no process: pipe, slot, judge, delays, systemd's socket, MJPEG, and what hides passwords."""

import dataclasses
import io
import os
import random
import socket
import struct
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.live import wire
from tflite_runtime_app.live.decode import decoded
from tflite_runtime_app.live.liveness import Liveness
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.live.open_feed import patience_for
from tflite_runtime_app.live.patience import Backoff, Patience
from tflite_runtime_app.live.slot import Slot
from tflite_runtime_app.sources.base import Frame, Shot
from tflite_runtime_app.sources.mjpeg import Splitter
from tflite_runtime_app.sources.pace import Pace

PATIENCE = Patience(start=20, stall=5, calm=30)


def jpeg(color=(220, 20, 20), size=(32, 24), **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "JPEG", **options)
    return file.getvalue()


def shot(sequence: int, data: bytes = b"\1\2\3", **changes) -> Shot:
    return Shot(**{"kind": "rgb", "width": 1, "height": 1, "data": data, "sequence": sequence, "taken": 5.5, **changes})


def through(data: bytes, sizes) -> list[Shot]:
    """What a reader makes of `data` in pieces of these sizes."""
    reader, shots, at = wire.Reader(), [], 0
    while at < len(data):
        space = reader.space()
        piece = data[at : at + min(next(sizes), len(space))]
        space[: len(piece)] = piece
        at += len(piece)
        found = reader.filled(len(piece))
        shots += [found] if found else []
    assert reader.empty
    return shots


def written(*shots: Shot) -> bytes:
    file = io.BytesIO()
    for one in shots:
        wire.write(file, one)
    return file.getvalue()


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_shots_survive_the_pipe_in_pieces_of_any_size(most):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8).tobytes()
    sent = [shot(0, pixels, width=7, height=5), shot(2**40, jpeg(), kind="jpeg", width=0, height=0), shot(3)]
    sizes = random.Random(1)
    got = through(written(*sent), iter(lambda: sizes.randint(1, most), None))
    for before, after in zip(sent, got, strict=True):
        fields = ("kind", "width", "height", "data", "sequence", "taken", "stamp")
        assert [getattr(before, name) for name in fields] == [getattr(after, name) for name in fields]


@pytest.mark.parametrize(
    "fields",
    [
        (b"XXXX", 2, 1, 1, 3, 0, 0.0, 0.0),
        (wire.MAGIC, 9, 1, 1, 3, 0, 0.0, 0.0),
        (wire.MAGIC, 2, 1, 1, 4, 0, 0.0, 0.0),  # not three bytes a pixel
        (wire.MAGIC, 2, 0, 0, 0, 0, 0.0, 0.0),
        (wire.MAGIC, 2, 40000, 40000, 4800000000 % 2**32, 0, 0.0, 0.0),
        (wire.MAGIC, 2, 16384, 16384, 16384 * 16384 * 3, 0, 0.0, 0.0),
        (wire.MAGIC, 1, 0, 0, 2**32 - 1, 0, 0.0, 0.0),
        (wire.MAGIC, 1, 0, 0, 0, 0, 0.0, 0.0),
        (wire.MAGIC, 1, 0, 0, 10, 0, float("nan"), 0.0),
        (wire.MAGIC, 1, 0, 0, 10, 0, 0.0, float("inf")),
    ],
)
def test_a_header_that_is_not_sound_is_refused_before_anything_is_allocated(fields):
    reader = wire.Reader()
    reader.space()[:] = struct.pack("<4sIIIIQdd", *fields)
    with pytest.raises(wire.WireError, match="expected"):
        reader.filled(wire.HEADER.size)
    assert len(reader.space()) <= wire.HEADER.size


def test_random_bytes_never_get_further_than_the_header():
    noise = random.Random(2)
    for _ in range(500):
        reader = wire.Reader()
        reader.space()[:] = noise.randbytes(wire.HEADER.size)
        with pytest.raises(wire.WireError):
            reader.filled(wire.HEADER.size)


def frame(index: int) -> Frame:
    return Frame("x", index, lambda: Image.new("RGB", (1, 1)))


def test_the_slot_keeps_the_newest_and_counts_the_others():
    slot = Slot()
    for index in range(5):
        slot.put(frame(index))
    assert (slot.take(0).index, slot.dropped, slot.take(0)) == (4, 4, None)


def test_a_frame_that_grew_too_old_in_the_slot_is_dropped_and_counted():
    now = [100.0]
    slot = Slot(clock=lambda: now[0])
    for until, later, expected in ((105.0, 104.0, 3), (105.0, 112.0, None), (None, 1e9, 3)):
        now[0] = 100.0
        slot.put(dataclasses.replace(frame(3), until=until))
        now[0] = later
        found = slot.take(0)
        assert (found and found.index) == expected
    assert slot.dropped == 1
    slot.put(dataclasses.replace(frame(4), until=1.0))
    slot.end()
    assert slot.take(1) is None
    assert slot.through


def test_what_waited_while_the_program_was_stopped_is_not_fresh_and_no_fault_of_the_camera():
    for nature in ("camera", "stream"):
        liveness = Liveness(nature, PATIENCE, 0)
        assert liveness.see(shot(0, b"a"), 10)
        assert not liveness.see(shot(1, b"b"), 22, age=11.9)
        assert liveness.fault(22) == "", "it was not the camera that was away"
        assert liveness.see(shot(2, b"c"), 22.1, age=4.9)
        assert (liveness.deadline, liveness.fault(27)) == (27.1, "")
        assert not liveness.see(shot(3, b"d"), 40, age=6)
        assert not liveness.see(shot(4, b"e"), 44, age=6)
        assert (liveness.fault(44.9), liveness.fault(45)) == ("", "only frames older than 5 s")


def test_a_film_does_not_age():
    film = Liveness("finite", PATIENCE, 0)
    assert film.see(shot(0, b"a"), 10, age=1e6)


def test_who_asks_for_a_frame_every_minute_waits_for_three():
    assert (patience_for(10.0).stall, patience_for(10.0).start) == (5.0, 20.0)
    assert (patience_for(1 / 60).stall, patience_for(1 / 60).start) == (180.0, 180.0)


def test_the_slot_wakes_who_waits_and_gives_the_last_frame_after_the_end():
    slot = Slot()
    timer = threading.Timer(0.05, slot.put, (frame(7),))
    timer.start()
    start = time.monotonic()
    assert slot.take(10).index == 7
    slot.put(frame(8))
    slot.end()
    assert not slot.through
    assert slot.take(10).index == 8
    assert slot.through
    assert slot.take(10) is None
    assert time.monotonic() - start < 5


def test_a_stall_is_a_fault_after_its_time_and_not_before():
    liveness = Liveness("camera", PATIENCE, now=100)
    assert (liveness.fault(119.9), liveness.fault(120)) == ("", "no frame within 20 s of its start")
    assert liveness.see(shot(0, b"a"), 110)
    assert (liveness.fault(114.9), liveness.fault(115)) == ("", "no frame for 5 s")
    assert liveness.see(shot(1, b"b"), 114)
    assert (liveness.deadline, liveness.fresh_for) == (119, 4)


def test_a_camera_that_repeats_itself_is_at_fault_and_a_stream_is_not():
    camera, stream = Liveness("camera", PATIENCE, 0), Liveness("stream", PATIENCE, 0)
    fresh = [(camera.see(shot(now, b"same"), now), stream.see(shot(now, b"same"), now)) for now in range(6)]
    assert fresh == [(True, True)] + [(False, True)] * 5
    assert camera.fault(5.1) == "the same frame for 5 s"
    assert stream.fault(5.1) == ""


def test_the_same_sequence_again_is_not_fresh_whatever_its_bytes():
    liveness = Liveness("stream", PATIENCE, 0)
    assert [liveness.see(shot(3, bytes([now])), now) for now in range(3)] == [True, False, False]


def test_an_older_sequence_is_a_fault_at_once():
    liveness = Liveness("stream", PATIENCE, 0)
    liveness.see(shot(5), 1)
    assert not liveness.see(shot(4), 1.1)
    assert liveness.fault(1.1) == "frame 4 came after frame 5"


def test_what_a_new_process_sees_again_is_true_until_it_changes():
    stuck = b"lens cap"
    liveness = Liveness("camera", PATIENCE, 0, before=stuck)
    assert [liveness.see(shot(now, stuck), now) for now in range(4)] == [True] * 4
    assert [liveness.see(shot(now, b"light"), now) for now in range(4, 7)] == [True, False, False]


def test_what_is_finite_may_wait_for_ever():
    assert Liveness("finite", PATIENCE, 0).fault(1e9) == ""


def test_restarts_come_at_once_then_ever_more_slowly_until_all_was_calm():
    backoff = Backoff(Patience(first=1, longest=60, calm=30))
    assert [backoff.delay(2) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff.delay(31), backoff.delay(3), backoff.delay(0)] == [0, 1, 2]
    for _ in range(3000):  # months of a camera that is not there
        assert backoff.delay(0) <= 60


@pytest.mark.parametrize("rate", [5, 10, 25, 30, 60])
def test_a_pace_thins_evenly_and_lets_slower_sources_through(rate):
    jitter, pace = random.Random(3), Pace(10)
    taken = [when for when in (number / rate + jitter.uniform(0, 0.2 / rate) for number in range(rate * 20)) if pace(when)]
    assert len(taken) / 20 == pytest.approx(min(rate, 10), rel=0.05)
    assert max(np.diff(taken)) < 2.1 / min(rate, 10)


def test_broken_and_absurd_jpegs_are_source_errors_in_one_line():
    whole = jpeg(size=(64, 64))
    assert decoded(shot(0, whole, kind="jpeg"), "cam").getpixel((5, 5)) == pytest.approx((220, 20, 20), abs=4)
    bomb = whole.replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 60000, 60000), 1)
    for data in (whole[: len(whole) // 2], b"no jpeg", bomb):
        with pytest.raises(SourceError, match=r"^cam: [^\n]+$"):
            decoded(shot(0, data, kind="jpeg"), "cam")


def cut(data: bytes, size: int) -> list[bytes]:
    splitter = Splitter()
    return [found for at in range(0, len(data), size) for found in splitter.feed(data[at : at + size])]


def with_thumbnail(whole: bytes) -> bytes:
    """`whole` with a complete JPEG inside an APP1 segment, as cameras write it."""
    inner = b"Exif\0\0" + jpeg((20, 20, 220), (8, 8))
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + whole[2:]


@pytest.mark.parametrize("size", [1, 3, 1000, 1 << 20])
def test_mjpeg_is_cut_at_the_pictures_and_not_at_their_thumbnails(size):
    noise = np.random.default_rng(4).integers(0, 256, (40, 40, 3), np.uint8)
    file, progressive = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=95, restart_marker_blocks=2)
    Image.fromarray(noise).save(progressive, "JPEG", progressive=True)
    pictures = [with_thumbnail(jpeg()), file.getvalue(), progressive.getvalue(), jpeg((1, 2, 3))]
    assert b"\xff\xd0" in pictures[1]
    assert pictures[2].count(b"\xff\xda") > 2
    assert cut(b"".join(pictures), size) == pictures


def test_mjpeg_finds_its_way_back_after_what_is_broken():
    good = with_thumbnail(jpeg())
    later = jpeg((9, 9, 200))
    broken = good[: good.rindex(b"\xff\xda")]  # cut off before its scan; the thumbnail in it is no image
    assert cut(b"noise\xff\xd8\xff\x00noise" + broken + later + later, 100) == [later, later]
    assert cut(b"\0" * 100 + good + b"\0\xff" * 50 + later, 11) == [good, later]
    random_bytes = random.Random(5).randbytes(200_000)
    assert cut(random_bytes + later + later, 4096)[-1] == later


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_mjpeg_whose_frames_lack_their_ends_is_cut_where_the_next_begins(size):
    pictures = [with_thumbnail(jpeg())[:-2], jpeg((1, 2, 3))[:-1], jpeg((9, 9, 200))[:-2]]
    found = cut(b"".join(pictures) + jpeg(), size)
    assert found == [*pictures, jpeg()]
    for whole, frame in zip((with_thumbnail(jpeg()), jpeg((1, 2, 3))), found, strict=False):
        expected = decoded(shot(0, whole, kind="jpeg"), "cam")
        np.testing.assert_array_equal(np.asarray(decoded(shot(0, frame, kind="jpeg"), "cam")), np.asarray(expected))


def test_mjpeg_cut_off_amid_a_scan_gives_a_frame_that_is_refused():
    whole, later = jpeg(size=(64, 64)), jpeg((9, 9, 200))
    cut_off = whole[: whole.rindex(b"\xff\xda") + 30]
    assert cut(cut_off + later, 9) == [cut_off, later]
    with pytest.raises(SourceError, match="left out"):
        decoded(shot(0, cut_off, kind="jpeg"), "cam")


def test_mjpeg_without_an_end_does_not_fill_the_memory():
    splitter = Splitter(limit=10_000)
    start = jpeg()[: jpeg().rindex(b"\xff\xda") + 14]
    splitter.feed(start)
    for _ in range(100):
        assert splitter.feed(b"\x55" * 1000) == []
    assert splitter.skipped > 80_000
    assert splitter.feed(jpeg()) == [jpeg()]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_every_word(tmp_path, abstract):
    name = f"clip-rescue-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name if abstract else name})
        assert all((notifier.ready(), notifier.alive(), notifier.status("live,\n10 fps – ok"), notifier.stopping()))
        heard = [systemd.recv(1000).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1", "STATUS=live, 10 fps – ok", "STOPPING=1"]


def test_a_start_that_takes_long_asks_for_more_time_until_it_is_over_or_hangs(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": path}, every=0.02)
        notifier.starting(60)
        assert [systemd.recv(100).decode() for _ in range(3)] == ["EXTEND_TIMEOUT_USEC=60000"] * 3
        assert notifier.ready()
        notifier.starting(60)
        time.sleep(0.2)
        systemd.settimeout(0.1)
        heard = []
        with pytest.raises(TimeoutError):
            while True:
                heard.append(systemd.recv(100).decode())
        assert heard.index("READY=1") == len(heard) - 1, "nothing more is asked for once it runs"
        hanging = Notifier({"NOTIFY_SOCKET": path}, every=0.02)
        hanging.starting(0)
        with pytest.raises(TimeoutError):
            systemd.recv(100)
        hanging.ready()


def test_a_systemd_that_does_not_listen_never_blocks(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        notifier, start = Notifier({"NOTIFY_SOCKET": path}), time.monotonic()
        told = [notifier.alive() for _ in range(5000)]
        assert told[0] and not told[-1]  # its queue is full before that
        assert time.monotonic() - start < 10
    assert not Notifier({"NOTIFY_SOCKET": path}).alive()  # nobody there
    assert not Notifier({}).ready()
    assert not Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).ready()
