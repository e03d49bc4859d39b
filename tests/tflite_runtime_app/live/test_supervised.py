"""Live sources that fail, each in its own way and for real: the feed notices, starts anew, says so, and never hangs."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app.live.live_feeds import (
    OPTIONS,
    STEADY,
    alive,
    closing,
    descendants,
    everything,
    fake,
    frames,
    running,
    until,
)
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.live import capture
from tflite_runtime_app.live.child import Child
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.live.supervised import SupervisedFeed


def healed(feed, restarts: int = 1) -> None:
    """The feed has been started anew so often, and a fresh frame has come since."""
    until(lambda: (feed.next(0.05), feed.health().restarts >= restarts and feed.health().state == "live")[1])
    assert feed.health().error == ""


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        ("die=5", "the camera was unplugged; plug it in again"),
        ("killed=5", "its process was killed by SIGKILL; out of memory?"),
        ("stall=5", "no frame for 0.5 s"),
        ("repeat=5", "the same frame for 0.5 s"),
        ("back=5", "frame 0 came after frame 4"),
        ("garbage=5", "found 1073741824 x 1073741824 in 8 bytes"),
        ("stall=5,hang-on-term", "no frame for 0.5 s"),
    ],
)
def test_a_camera_that_fails_is_started_anew_in_time_and_heals(misbehaviour, error):
    # The 5th of 50 frames a second is followed by the fault; a stall is one 0.5 s later, all else at once.
    word = f"fake:64x48,rate=50,{misbehaviour}"
    with closing(fake(word, stall=0.5, first=0.2)) as feed:
        frames(feed, 1)
        assert until(lambda: (feed.next(0), feed.health().error)[1]) < 0.5 + 1.5
        health = feed.health()
        assert health.error.startswith(f"{word}: ")
        assert error in health.error
        assert "\n" not in health.error
        assert health.state == "stalled"
        assert until(lambda: feed.health().restarts or feed.health().state == "live") < 1
        healed(feed)
        assert len(descendants()) == 1


def test_a_picture_that_truly_stands_still_costs_one_restart():
    with closing(fake("fake:64x48,rate=50,red", stall=0.5)) as feed:
        healed(feed)
        until(lambda: (feed.next(0.05), feed.health().age < 0.3 and feed._index > 60)[1])
        assert feed.health().restarts == 1
        assert feed.next(1).load().getpixel((3, 3)) == (220, 20, 20)


def test_a_slow_start_is_waited_for():
    with closing(fake("fake:64x48,slow=1", stall=0.3)) as feed:
        assert feed.health().state == "starting"
        frames(feed, 3)
        assert feed.health().restarts == 0


def test_a_camera_that_never_starts_is_given_up_with_the_reason():
    with closing(fake("fake:64x48,slow=60", start=0.3, first=0.05, tries=3)) as feed:
        assert everything(feed) == []
        assert feed.health().restarts == 2
        assert feed.health().error == "fake:64x48,slow=60: no frame within 0.3 s of its start"


def test_a_process_that_cannot_be_started_is_told():
    patience = Patience(first=0.05, tries=3)
    with closing(SupervisedFeed("x", OPTIONS, "camera", patience, ["/nonexistent/program"])) as feed:
        assert everything(feed) == []
        assert feed.health().error.startswith("x: its process cannot be started: ")


def test_what_can_never_work_is_not_tried_again():
    with closing(running("print('no such thing', file=sys.stderr); sys.exit(2)")) as feed:
        assert everything(feed) == []
        assert (feed.health().restarts, feed.health().error) == (0, "stand-in: no such thing")


def test_a_feed_that_lived_is_never_given_up():
    with closing(running("frame(0)", first=0.01, longest=0.02, tries=2)) as feed:
        healed(feed, restarts=5)


def test_restarts_come_at_once_and_then_ever_more_slowly():
    # Ends at 0, again at once, then after 0.4, 0.8 and 1.6 s.
    with closing(running("sys.exit(1)", first=0.4, tries=100)) as feed:
        assert until(lambda: feed.health().restarts == 1) < 1
        time.sleep(2)
        assert 2 <= feed.health().restarts <= 3


def test_noise_on_the_pipe_is_refused():
    with closing(running("while True: os.write(1, os.urandom(65536))", tries=2, first=0.05)) as feed:
        assert everything(feed) == []
        assert "expected a frame on the pipe, found b" in feed.health().error


def test_a_process_that_ends_in_the_middle_of_a_picture_is_told():
    code = "frame(0)\nos.write(1, struct.pack('<4sIIIIQdd', b'CRF2', 2, 100, 100, 30000, 1, 0.0, 0.0) + b'x' * 100)"
    with closing(running(code, first=5)) as feed:
        frames(feed, 1)
        until(lambda: "in the middle of a frame" in feed.health().error)


def test_pictures_that_come_in_drips_are_a_stall():
    code = "frame(0)\nos.write(1, b'CRF2')\nwhile True:\n    time.sleep(0.05); os.write(1, b'\\2')"
    with closing(running(code, stall=0.4, first=5)) as feed:
        frames(feed, 1)
        until(lambda: feed.health().error)
        assert feed.health().error.startswith("stand-in: ")


def test_a_flood_of_words_blocks_nothing_and_the_last_line_is_kept():
    code = "for n in range(20000): print('line', n, 'rtsp://me:secret@cam/', file=sys.stderr)\nframe(0)\nsys.exit(1)"
    with closing(running(code, first=5)) as feed:
        frames(feed, 1)
        until(lambda: feed.health().error)
        assert feed.health().error == "stand-in: line 19999 rtsp://***@cam/"


def test_a_broken_picture_is_an_error_of_that_frame_alone():
    with closing(fake("fake:64x48,rate=20,broken=3")) as feed:
        broken = 0
        for frame in frames(feed, 9):
            try:
                assert frame.load().size == (64, 48)
            except SourceError as error:
                broken += 1
                assert str(error).startswith("fake:64x48,rate=20,broken=3: frame ")
        assert broken >= 2
        assert feed.health().restarts == 0


def test_who_looks_slowly_sees_the_newest_and_what_it_missed_is_counted():
    with closing(fake("fake:64x48,rate=50")) as feed:
        frames(feed, 1)
        for _ in range(3):
            time.sleep(0.5)
            assert time.time() - feed.next(1).taken < 0.25
        last = frames(feed, 1)[0]
        assert feed.health().dropped == last.index + 1 - 5
        assert feed.health().dropped > 30


def test_a_jump_of_the_clock_changes_nothing(monkeypatch):
    true_time = time.time
    with closing(running(STEADY, stall=0.5)) as feed:
        frames(feed, 1)
        for jump in (1e9, -1e9, 3600, -3600):
            monkeypatch.setattr(time, "time", lambda jump=jump: true_time() + jump)
            assert len(frames(feed, 10)) == 10
            assert 0 <= feed.health().age < 0.5
        assert feed.health().restarts == 0


@pytest.mark.parametrize("jumps", [(1e9, -1e9), (-1e9, -2e9, -3e9, 0), (1e9, 2e9, 3e9, 9e9)])
def test_a_jump_of_the_clock_makes_no_restart_earlier_or_later(monkeypatch, jumps):
    true_time, jump = time.time, itertools.cycle(jumps)
    monkeypatch.setattr(time, "time", lambda: true_time() + next(jump))
    with closing(running("frame(0)", first=0.4, longest=0.4)) as feed:
        frames(feed, 1)
        until(lambda: feed.health().restarts >= 1)
        assert 0.8 < until(lambda: feed.health().restarts >= 4) < 4  # three delays, the first may have begun


def test_what_outlives_sigkill_is_left_behind_and_counted(monkeypatch):
    started = []
    monkeypatch.setattr(Child, "kill", lambda self: started.append(self))  # as of a process that a driver never lets go
    with closing(running("frame(0)\ntime.sleep(100)", stall=0.3, grace=0.1)) as feed:
        until(lambda: (feed.next(0.05), feed.abandoned and feed.health().restarts and feed.health().state == "live")[1])
        assert alive(started[0].pid)
        until(lambda: "of its processes cannot be killed, only a reboot helps" in feed.health().error)
    monkeypatch.undo()
    for survivor in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(survivor.pid, signal.SIGKILL)
        survivor._process.wait(5)


STOPPED = """
import sys, time
from tests.tflite_runtime_app.live.live_feeds import fake
from tflite_runtime_app import board
feed = fake("fake:64x48,rate=30", stall=0.5)
while True:
    frame = feed.next(0.2)
    if frame:
        print(time.time() - frame.taken, feed.health().dropped, flush=True)
"""


def test_after_the_program_was_stopped_no_frame_is_older_than_a_stall():
    with subprocess.Popen([sys.executable, "-c", STOPPED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            ages = [float(process.stdout.readline().split()[0]) for _ in range(10)]
            for _ in range(2):
                process.send_signal(signal.SIGSTOP)
                time.sleep(1.5)
                process.send_signal(signal.SIGCONT)
                ages += [float(process.stdout.readline().split()[0]) for _ in range(40)]
        finally:
            process.kill()
    # One line may have been half-way when the signal came: what was given before counts from when it was given.
    assert sorted(ages)[-3] < 0.6


def test_a_reader_that_was_away_gets_the_source_opened_anew(monkeypatch, capsys):
    clock = iter([100.0, 100.1, 200.0, 212.0])
    monkeypatch.setattr(capture.board, "clock", lambda: next(clock))
    monkeypatch.setattr(capture, "live_kind", lambda word: SimpleNamespace(NATURE="camera", shots=lambda *_: iter("abc")))
    monkeypatch.setattr(capture.wire, "write", lambda pipe, shot: None)
    for name in ("dup", "dup2", "fdopen"):
        monkeypatch.setattr(capture.os, name, lambda *_: None)
    assert capture.main(["x"]) == 1
    assert "nobody took its frames for 12 s" in capsys.readouterr().err
