"""The process of a live source: it ends with whoever started it, leaves nothing behind, and what is finite loses no frame."""

import os
import signal
import subprocess
import sys
import threading
import time

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
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.live.supervised import SupervisedFeed


@pytest.mark.parametrize(
    "code", ["time.sleep(100)", STEADY, "frame(0); time.sleep(100)", "sys.exit(1)", "os.close(1); time.sleep(100)"]
)
def test_close_takes_less_than_a_second_and_leaves_nothing(code):
    before = threading.active_count()
    with closing(running(code)) as feed:
        feed.next(0.3)
    assert descendants() == []
    assert (feed.health().state, threading.active_count()) == ("ended", before)
    assert feed.next(10) is None
    feed.close()  # once more does no harm


def test_close_wakes_who_waits_for_a_frame():
    with closing(running("time.sleep(100)")) as feed:
        threading.Timer(0.2, feed.close).start()
        start = time.monotonic()
        assert feed.next(60) is None
        assert time.monotonic() - start < 5


def test_what_is_finite_is_given_whole_however_slowly_one_looks():
    code = "for n in range(400): frame(n, n.to_bytes(2, 'big') * 15000, 100, 100)"  # 12 MB: far more than the pipe holds
    with closing(running(code, "finite", stall=0.1)) as feed:
        first = frames(feed, 2)
        time.sleep(0.5)
        assert feed.health().state == "live"
        got = first + everything(feed)
        assert [frame.index for frame in got] == list(range(400))
        pixels = [frame.load().getpixel((50, 50)) for frame in got]
        assert pixels == [tuple((n.to_bytes(2, "big") * 2)[:3]) for n in range(400)]
        health = feed.health()
        assert (health.state, health.restarts, health.dropped, health.error) == ("ended", 0, 0, "")


def test_what_is_finite_and_fails_ends_with_the_reason():
    with closing(running("frame(0); print('the disk is gone', file=sys.stderr); sys.exit(1)", "finite")) as feed:
        assert len(everything(feed)) == 1
        assert (feed.health().restarts, feed.health().error) == (0, "stand-in: the disk is gone")


@pytest.mark.parametrize(
    ("code", "nature"),
    [("os.close(2)\nframe(0); time.sleep(100)", "camera"), ("frame(0); frame(1); frame(2); time.sleep(100)", "finite")],
)
def test_waiting_costs_no_processor_time(code, nature):
    with closing(running(code, nature)) as feed:
        until(lambda: feed.health().age is not None)
        before = time.process_time()
        time.sleep(1)
        assert time.process_time() - before < 0.2


def test_hundreds_of_restarts_leave_no_file_open_and_no_thread():
    def used():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = used()
    with closing(SupervisedFeed("x", OPTIONS, "camera", Patience(first=0, longest=0, tries=300), ["/bin/false"])) as feed:
        everything(feed)
        assert feed.health().restarts == 299
    assert used() == before


RUN = """
import sys, time
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.live.supervised import SupervisedFeed
from tflite_runtime_app.sources.base import CaptureOptions
feed = SupervisedFeed("fake:64x48,hang-on-term", CaptureOptions(), "camera", Patience(), {command})
feed.next(20).load()
print("live", flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_program_takes_its_source_and_what_that_started_along(tmp_path, end):
    # The source's process is ours, and starts another that would live on.
    pids = tmp_path / "pids"
    (tmp_path / "standin.py").write_text(
        "import os, subprocess, sys\n"
        "from tflite_runtime_app.live import capture\n"
        "grandchild = subprocess.Popen(['sleep', '100'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{grandchild.pid}}')\n"
        "sys.exit(capture.main())\n"
    )
    command = [sys.executable, str(tmp_path / "standin.py"), "--", "fake:64x48,hang-on-term"]
    code = RUN.replace("{command}", repr(command))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as program:
        program.stdout.readline()
        both = [int(pid) for pid in pids.read_text().split()]
        assert all(map(alive, both))
        program.send_signal(end)
        until(lambda: not any(map(alive, both)), 5)


def test_the_source_is_found_from_any_folder_and_no_file_there_stands_in_for_a_library(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path] + [str(ROOT)])
    with closing(fake("fake:64x48,red")) as feed:
        assert frames(feed, 1)[0].load().getpixel((0, 0)) == (220, 20, 20)
