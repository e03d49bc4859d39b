"""`classify` on a live source, from the command line to the last line: ends, signals, systemd, the page, and what is refused."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tflite_runtime_app.cli import main

CAMERA = "fake:64x48,rate=50"


def words(*parts):
    return [str(part) for part in parts]


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tflite_runtime_app", *words(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=heeded,
    )


def heeded():
    """A shell's background jobs ignore SIGINT, and their children with them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def children(pid):
    """Of all its threads."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def gone(pid, seconds=2):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_json_lines_of_a_camera(bundle_path, capfd):
    assert main(words(bundle_path, CAMERA, "--json", "--frames", 5, "--smooth", "2/3")) == 0
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [list(record) for record in records] == [
        ["source", "frame", "top", "none", "like", "sure", "exit", "block", "macs", "ms", "stages_ms", "taken", "steady"]
    ] * 5
    assert [record["source"] for record in records] == [CAMERA] * 5
    assert abs(records[-1]["taken"] - time.time()) < 60


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("camera", [CAMERA, "fake:64x48,rate=50,stall=5,hang-on-term"])
def test_a_signal_ends_it_within_a_second_and_nothing_is_left(bundle_path, number, code, camera):
    with start(bundle_path, camera, "--json", "--mqtt", "mqtt://127.0.0.1:9", "--on-label", "cat=sleep 50") as process:
        for _ in range(3):
            assert json.loads(process.stdout.readline())
        left = children(process.pid)
        assert left, "the camera is a process of its own"
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == code
        assert time.monotonic() - began < 1
        assert all(gone(pid) for pid in left)
        assert "Traceback" not in process.stderr.read()


def test_a_camera_that_is_pulled_out_comes_back(bundle_path):
    """Every life of it ends after 20 images; the frames of three lives are answered."""
    with start(bundle_path, "fake:64x48,rate=200,die=20", "--json", "--frames", 30, "--stats") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 1)
    assert len([line for line in out.splitlines() if "top" in json.loads(line)]) == 30
    assert int(re.search(r"source +(\d+) restarts", err)[1]) >= 1


def test_systemd_hears_of_inferences_and_of_the_end(bundle_path, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(10)
        with start(bundle_path, CAMERA, "--json", "--frames", 3, NOTIFY_SOCKET=path) as process:
            process.communicate(timeout=60)
        heard = []
        server.settimeout(0.2)
        try:
            while True:
                heard.append(server.recv(200).decode())
        except TimeoutError:
            pass
    assert heard[0] == "READY=1"
    assert heard.count("WATCHDOG=1") == 3
    assert heard[-1] == "STOPPING=1"


def test_the_page_is_served_while_it_runs_and_takes_labels(bundle_path):
    with start(bundle_path, CAMERA, "--json", "--serve", 0) as process:
        line = process.stderr.readline()
        while "http://" not in line:
            assert line, "no address was told"
            line = process.stderr.readline()
        url = re.search(r"http://\S+", line)[0].rstrip("/")
        process.stdout.readline()
        state = json.loads(urllib.request.urlopen(f"{url}/state.json", timeout=10).read())
        assert state
        request = urllib.request.Request(
            f"{url}/labels",
            json.dumps({"text": "newt\nheron"}).encode(),
            {"Content-Type": "application/json", "X-Classify": "page"},
        )
        try:
            told = json.loads(urllib.request.urlopen(request, timeout=30).read())
        except urllib.error.HTTPError as error:
            told = json.loads(error.read())
        assert "error" in told, "no text tower lies beside this bundle, so these names cannot be embedded"
        assert "text" in told["error"]
        assert json.loads(process.stdout.readline())["top"], "it goes on with the old ones"
        process.terminate()
        assert process.wait(5) == 143


def test_a_folder_is_watched(bundle_path, picture, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with start(bundle_path, inbox, "--watch", "--json", "--frames", 2) as process:
        time.sleep(2.5)
        for name in ("a.png", "b.png"):
            (inbox / name).write_bytes(picture.read_bytes())
        out, _ = process.communicate(timeout=60)
    assert [os.path.basename(json.loads(line)["source"]) for line in out.splitlines()] == ["a.png", "b.png"]
    assert process.returncode == 0


def test_a_finite_source_ends_and_its_faults_end_in_one(bundle_path, capfd):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8).tobytes()
    command = [sys.executable, "-m", "tflite_runtime_app", bundle_path, "raw:64x48", "--json"]
    done = subprocess.run(command, input=pictures, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2, 3]
    done = subprocess.run(command, input=pictures[:-7], capture_output=True, check=False, timeout=60)
    assert done.returncode == 1, "the last image was cut short"
    assert main(words(bundle_path, "no-such-film.mp4", "--json")) == 1
    assert "no-such-film.mp4" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("usb", "rpi"), "name it alone"),
        (("rtsp://me:secret@host/1", "x.png"), "name it alone"),
        (("x.png", "--smooth", "2/3"), "--smooth"),
        (("x.png", "--serve", "8080"), "--serve"),
        (("a", "b", "--watch"), "one folder"),
        ((CAMERA, "--size", "huge"), "--size"),
        ((CAMERA, "--crop", "middle"), "--crop"),
        ((CAMERA, "--smooth", "9/3"), "--smooth"),
        ((CAMERA, "--mqtt", "ftp://x"), "--mqtt"),
        ((CAMERA, "--on-label", "cat"), "--on-label"),
        ((CAMERA, "--snapshots", "/proc/no", "--frames", "1"), "--snapshots"),
        ((CAMERA, "--snapshots", "x", "--snapshot-budget", "lots"), "--snapshot-budget"),
        (("fake:huge",), "fake:"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(bundle_path, arguments, said, capfd):
    assert main(words(bundle_path, *arguments)) == 2
    err = [line for line in capfd.readouterr().err.splitlines() if "XNNPACK" not in line]
    assert len(err) == 1
    assert said in err[0]
    assert "secret" not in err[0]


@pytest.mark.parametrize("options", [("--rotate", "90"), ("--flip", "h"), ("--crop", "0.2,0.2,0.3,0.3"), ("--crop", "letterbox")])
def test_the_view_changes_what_is_seen(bundle_path, picture, options, capfd):
    found = []
    for more in ((), options):
        assert main(words(bundle_path, picture, "--json", "--full-depth", *more)) == 0
        found.append(json.loads(capfd.readouterr().out)["top"])
    assert found[0] != found[1]
