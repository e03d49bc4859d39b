"""Many images: decoded ahead of the model or answered by several processes, and always as one after the other would be."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from tests.clone import ROOT
from tflite_runtime_app import board
from tflite_runtime_app.batch import ahead, jobs
from tflite_runtime_app.batch.steps import steps_of
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.cli import main
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.sinks.base import Failure, Result


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(board, "usable_processors", lambda: 2)


@pytest.fixture
def folder(tmp_path):
    """Twelve images, among them a broken one, one without its end, and a note of what is not read here."""
    place = tmp_path / "images"
    place.mkdir()
    for number in range(12):
        size = (300, 200) if number == 4 else (20 + number, 30)
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02d}.{'jpg' if number % 3 else 'png'}")
    (place / "03.png").write_bytes((place / "03.png").read_bytes()[:60])
    (place / "07.jpg").write_bytes((place / "07.jpg").read_bytes()[:-2])
    (place / "drawing.svg").write_text("<svg/>")
    return place


@pytest.fixture
def classifier(bundle_path):
    bundle = read_bundle(bundle_path)
    found = Classifier(bundle)
    found.use(bundle.labels)
    return found


def said(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def timeless(out: str) -> list[dict[str, object]]:
    return [{key: value for key, value in json.loads(line).items() if "ms" not in key} for line in out.splitlines()]


@pytest.mark.usefixtures("two_processors")
def test_two_processes_say_what_one_says(bundle_path, folder, picture, capsys):
    sources = (folder, picture, folder.parent / "absent.png", folder.parent / "*.webp", picture)
    found = {}
    for words in ((), ("--jobs", 2)):
        code, out, err = said(capsys, bundle_path, *sources, "--json", *words)
        assert code == 1
        found[words] = timeless(out), [line for line in err.splitlines() if "XNNPACK" not in line]
    assert found[()] == found["--jobs", 2]
    records, errors = found[()]
    assert [os.path.basename(str(record["source"])) for record in records[:3]] == ["00.png", "01.jpg", "02.jpg"]
    assert [os.path.basename(str(record["source"])) for record in records if "error" in record] == [
        "03.png",
        "absent.png",
        "*.webp",
    ]
    assert len(records) == 16
    assert any("drawing" in line or ".svg left out" in line for line in errors)


@pytest.mark.usefixtures("two_processors")
def test_every_sink_of_folders_hears_the_same(tmp_path, bundle_path, folder, capsys):
    found = {}
    for number in (1, 2):
        kept, told = tmp_path / f"kept-{number}", tmp_path / f"told-{number}"
        told.mkdir()
        options = ("--snapshots", kept, "--stats", "--jobs", number, "--on-label-every", 0)
        rules = [word for label in ("cat", "dog", "owl", "red fox") for word in ("--on-label", f"{label}=touch '{told}/{label}'")]
        _, lines, err = said(capsys, bundle_path, folder, *options, *rules)
        assert "memory, most seen" in err
        assert "11 images, 1 failed" in err
        table = list(csv.reader(io.StringIO(said(capsys, bundle_path, folder, "--csv", "--jobs", number)[1])))
        times = [k for k, name in enumerate(table[0]) if "ms" in name]
        rows = [[value for k, value in enumerate(row) if k not in times] for row in table]
        names = sorted(re.sub(r"_[\dT.]+Z_", "_", path.name) for path in kept.iterdir())
        sizes = sorted(size_of(path) for path in kept.iterdir())
        found[number] = re.sub(r" +[\d.]+ ms", "", lines), rows, (names, sizes)
    assert found[1] == found[2]
    assert found[1][2][0]
    assert found[1][0].count("\n") == 11


@pytest.mark.usefixtures("two_processors")
def test_images_are_decoded_ahead_in_a_thread_that_ends(classifier, folder, monkeypatch):
    threads = set()
    prepared = classifier.prepared

    def noted(frame):
        threads.add(threading.current_thread().name)
        return prepared(frame)

    monkeypatch.setattr(classifier, "prepared", noted)
    with closing(ahead.outcomes(classifier, steps_of([str(folder)]))) as found:
        assert isinstance(next(found), str)
        assert isinstance(next(found), Result)
    assert threads == {"images"}
    assert "images" not in {thread.name for thread in threading.enumerate()}
    threads.clear()
    assert len(list(ahead.outcomes(classifier, steps_of([str(folder / "00.png")])))) == 1
    assert threads == {"MainThread"}


@pytest.mark.usefixtures("two_processors")
def test_what_a_thread_meets_is_not_lost(classifier, folder, monkeypatch):
    monkeypatch.setattr(classifier, "prepared", lambda frame: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(ahead.outcomes(classifier, steps_of([str(folder)])))


def test_answers_come_in_order_however_long_each_takes(classifier, tmp_path):
    class Slow(Classifier):
        def classify(self, frame):
            time.sleep(0.05 if frame.source.endswith("0.png") else 0)
            return super().classify(frame)

    classifier.__class__ = Slow
    for number in range(30):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:02d}.png")
    with closing(jobs.Jobs(classifier, 3, images=False)) as workers:
        found = list(workers.outcomes(steps_of([str(tmp_path / "*.png")])))
    assert [os.path.basename(one.source) for one in found] == [f"{number:02d}.png" for number in range(30)]
    assert all(isinstance(one, Result) and one.image is None for one in found)


def test_a_process_that_dies_is_told_in_one_line(classifier, folder):
    class Deadly(Classifier):
        def classify(self, frame):
            if frame.source.endswith("05.jpg"):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().classify(frame)

    classifier.__class__ = Deadly
    answered = []
    with closing(jobs.Jobs(classifier, 2, images=False)) as workers:
        processes = [worker.process for worker in workers._workers]
        with pytest.raises(
            AppError, match=r"^a process of --jobs was killed by SIGKILL with \S+05.jpg before it, .*fewer --jobs$"
        ):
            for one in workers.outcomes(steps_of([str(folder)])):
                answered.append(one)
    assert len([one for one in answered if isinstance(one, Failure)]) <= 1
    for process in processes:
        with pytest.raises(ValueError, match="closed"):
            process.is_alive()


def test_a_fault_of_the_program_in_a_process_is_one_here(classifier, folder):
    class Faulty(Classifier):
        def classify(self, frame):
            raise ZeroDivisionError("a fault")

    classifier.__class__ = Faulty
    with (
        closing(jobs.Jobs(classifier, 1, images=False)) as workers,
        pytest.raises(RuntimeError, match="ZeroDivisionError: a fault"),
    ):
        list(workers.outcomes(steps_of([str(folder / "00.png")])))


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_ends_all_processes(bundle_path, folder, number, code):
    def heeded() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [sys.executable, "-m", "tflite_runtime_app", bundle_path, *[folder] * 2000, "--json", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeded
    ) as process:
        process.stdout.readline()
        started = children(process.pid)
        process.send_signal(number)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in err
    assert started
    until = time.monotonic() + 10
    while time.monotonic() < until and any(os.path.exists(f"/proc/{pid}") for pid in started):
        time.sleep(0.02)
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]


def test_more_processes_than_processors_are_not_started(bundle_path, picture, capsys, monkeypatch):
    monkeypatch.setattr(board, "usable_processors", lambda: 1)
    code, _, err = said(capsys, bundle_path, picture, "--jobs", 3)
    assert code == 0
    assert "3 processes were asked for, 1 are of use here: running 1" in err


def test_a_live_source_has_one_process(bundle_path, capsys):
    code, _, err = said(capsys, bundle_path, "fake:64x48", "--jobs", 2)
    assert code == 2
    assert err == "classify: --jobs is for images that lie there: a live source is looked at by one process\n"
