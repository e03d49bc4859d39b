"""Comma-separated values, programs started by labels, snapshots, statistics."""

import csv
import io
import json
import os
import stat
import sys
import time

import pytest

from tests.tflite_runtime_app.sinks.results import picture, result, status
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.base import Failure
from tflite_runtime_app.sinks.commands import CommandSink, Rule, parse_rule
from tflite_runtime_app.sinks.jsonl import JsonLinesSink
from tflite_runtime_app.sinks.line import LineSink
from tflite_runtime_app.sinks.snapshots import SnapshotSink, parse_budget
from tflite_runtime_app.sinks.stats import StatsSink
from tflite_runtime_app.sinks.table import COLUMNS, CsvSink


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


# Comma-separated values. -------------------------------------------------------------------------------------------------------------


def test_csv_reads_back_as_it_was_said():
    out = io.StringIO()
    sink = CsvSink(out)
    sink.result(result('a "red", mug\nwith lines', taken=0.0, steady=""))
    sink.result(result("=1+1"))
    sink.failure(Failure("x.png", 7, "broken, it is"))
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["label"] == 'a "red", mug\nwith lines'
    assert rows[0]["taken"] == "1970-01-01T00:00:00.000+00:00"
    assert rows[1]["label"] == "'=1+1", "a spreadsheet would compute it"
    assert (rows[2]["source"], rows[2]["frame"], rows[2]["error"]) == ("x.png", "7", "broken, it is")


def test_what_it_looks_like_and_doubt_are_said_in_every_output():
    """A line for people, JSON, CSV; MQTT and the page carry the same two fields."""
    other, unsure = result("cat", score=0.4, none=True, like="fountain"), result("cat", score=0.4, others=("dog", "owl"))
    lines, rows, table = io.StringIO(), io.StringIO(), io.StringIO()
    for sink in (LineSink(lines, lines), JsonLinesSink(rows), CsvSink(table)):
        for one in (other, unsure, result("cat")):
            sink.result(one)
    said = [line.split("  ")[1] for line in lines.getvalue().splitlines()]
    assert said[0] == "none of these; looks like fountain (closest: cat 40.0%, dog 60.0%)"
    assert said[1] == "not sure: cat 40.0%, dog 30.0%, owl 30.0%"
    assert said[2] == "cat 80.0%, dog 20.0%"
    told = [json.loads(row) for row in rows.getvalue().splitlines()]
    assert [(row["none"], row["like"], row["sure"]) for row in told] == [
        (True, "fountain", False),
        (False, "", False),
        (False, "", True),
    ]
    assert [row["like"] for row in csv.DictReader(io.StringIO(table.getvalue()))] == ["fountain", "", ""]


# Programs. ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def noting(tmp_path):
    """A program that appends its arguments and what its environment tells, and the lines it has written so far."""
    script, notes = tmp_path / "note it.py", tmp_path / "notes"
    script.write_text(
        "import os, sys\n"
        "facts = [*sys.argv[1:], os.environ['CLIP_LABEL'], os.environ['CLIP_SCORE']]\n"
        f"open({str(notes)!r}, 'a').write('|'.join(facts) + chr(10))\n"
    )

    def lines(count):
        until = time.monotonic() + 10
        while time.monotonic() < until:
            found = notes.read_text().splitlines() if notes.exists() else []
            if len(found) >= count:
                return found
            time.sleep(0.02)
        return []

    return (sys.executable, str(script)), lines


def test_a_program_starts_when_its_label_comes_up_and_not_again_while_it_stays(noting):
    command, lines = noting
    clock = Clock()
    sink = CommandSink([Rule("Cat", (*command, "saw {label}", "{score}; rm -rf $HOME"))], 10.0, clock)
    for label in ("dog", "cat", "cat", "cat"):
        sink.result(result(label))
    assert lines(1) == ["saw Cat|0.8000; rm -rf $HOME|Cat|0.8000"], "no shell has read it"
    assert sink.started == 1
    _ended(sink)
    clock.now += 5
    for label in ("dog", "cat"):
        sink.result(result(label))
    assert (sink.started, sink.held_back) == (1, 1), "five seconds are too soon"
    clock.now += 20
    for label in ("dog", "cat"):
        sink.result(result(label))
    assert len(lines(2)) == 2
    sink.close()


def _ended(sink):
    for running in sink._running.values():
        assert running.process.wait(10) == 0


def test_a_label_that_is_not_steady_or_none_of_these_starts_nothing(noting):
    command, _ = noting
    sink = CommandSink([Rule("cat", command)])
    sink.result(result("cat", steady=""))
    sink.result(result("cat", none=True))
    assert sink.started == 0
    sink.result(result("cat", steady="cat"))
    assert sink.started == 1
    sink.close()


def test_a_program_that_runs_too_long_is_killed_and_close_waits_for_none(capsys):
    clock = Clock()
    sink = CommandSink([Rule("cat", ("sleep", "100")), Rule("dog", ("sleep", "100"))], 0.0, clock)
    sink.result(result("cat"))
    (running,) = sink._running.values()
    clock.now += 61
    sink.status(status())
    assert running.process.wait(5) == -9
    assert "killed after 60 seconds" in capsys.readouterr().err
    sink.result(result("dog"))
    (running,) = sink._running.values()
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 1
    assert running.process.wait(5) == -9


def test_a_program_that_is_not_there_is_told_of(capsys):
    sink = CommandSink([Rule("cat", ("/no/such/program",))])
    sink.result(result("cat"))
    assert "--on-label cat: /no/such/program cannot be started" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["cat", "=run", "cat=", "cat='half", " =x"])
def test_rules_that_lack_something_are_refused(text):
    with pytest.raises(UsageError, match="--on-label"):
        parse_rule(text)


def test_rules_are_read():
    assert parse_rule("my cat=/bin/echo 'two words' {score}") == Rule("my cat", ("/bin/echo", "two words", "{score}"))


# Snapshots. --------------------------------------------------------------------------------------------------------------------------


def kept(folder):
    return sorted(path.name for path in folder.glob("*.jpg"))


def test_chosen_labels_are_kept_and_not_too_often(tmp_path):
    clock = Clock()
    sink = SnapshotSink(tmp_path / "new" / "folder", ("Cat",), clock=clock)
    for label in ("cat", "cat", "dog"):
        sink.result(result(label, image=picture(), taken=1e9))
    folder = tmp_path / "new" / "folder"
    assert kept(folder) == ["clip_20010909T014640.000Z_0001_cat.jpg"]
    clock.now += 6
    sink.result(result("cat", image=picture(), taken=1e9))
    assert len(kept(folder)) == 2, "the same time of day, another picture"
    sink.result(result("cat", image=None))
    sink.result(result("cat", none=True, image=picture()))
    assert len(kept(folder)) == 2
    assert not list(folder.glob("*.tmp"))


def test_a_label_cannot_leave_the_folder(tmp_path):
    sink = SnapshotSink(tmp_path / "in")
    sink.result(result("../../etc/passwd", image=picture()))
    assert [path.parent for path in tmp_path.rglob("*.jpg")] == [tmp_path / "in"]


def test_the_oldest_go_when_there_are_too_many_and_nobody_elses(tmp_path):
    (tmp_path / "mine.jpg").write_bytes(b"x" * 10**6)
    size = len(_jpeg())
    for _ in range(2):  # the second sink finds what the first one kept
        clock = Clock()
        sink = SnapshotSink(tmp_path, budget=int(size * 3.5), every=0.0, clock=clock)
        for number in range(6):
            sink.result(result(f"label {number}", image=picture()))
        ours = [name for name in kept(tmp_path) if name.startswith("clip_")]
        assert len(ours) == 3
        assert [name.rsplit("-", 1)[1] for name in sorted(ours, key=lambda n: n.split("_")[2])] == ["3.jpg", "4.jpg", "5.jpg"]
    assert (tmp_path / "mine.jpg").exists()


def _jpeg():
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def test_a_full_disk_makes_room_then_tells_once_and_stops_nothing(tmp_path, monkeypatch, capsys):
    clock = Clock()
    sink = SnapshotSink(tmp_path, every=0.0, clock=clock)
    for label in "ab":
        sink.result(result(label, image=picture()))
    tried = []

    class Full:
        def convert(self, mode):
            return self

        def save(self, path, *rest, **named):
            tried.append(path)
            if len(tried) != 2:
                raise OSError(28, "No space left on device")
            picture().save(path, *rest, **named)

    sink.result(result("c", image=Full()))
    assert [name.rsplit("_", 1)[1] for name in kept(tmp_path)] == ["b.jpg", "c.jpg"], "the oldest made room"
    for label in "de":
        sink.result(result(label, image=Full()))
    err = capsys.readouterr().err
    assert err.count("No space left on device") == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--snapshots"):
        SnapshotSink(tmp_path / "file" / "below")


def test_sizes_are_read():
    assert [parse_budget(text) for text in ("200M", "1.5G", "10k", "5", "3MB")] == [
        200_000_000,
        1_500_000_000,
        10_000,
        5,
        3_000_000,
    ]
    for text in ("", "M", "-5M", "0", "5X"):
        with pytest.raises(UsageError, match="--snapshot-budget"):
            parse_budget(text)


# Statistics. -------------------------------------------------------------------------------------------------------------------------


def test_statistics_are_the_percentiles_of_what_was_told():
    err = io.StringIO()
    sink = StatsSink(err)
    for number in range(1, 101):
        sink.result(result(ms=float(number), exit=number % 2))
    sink.failure(Failure("x", 0, "broken"))
    sink.status(status(restarts=4))
    rows = dict(sink.rows())
    assert rows["answers"] == "100, 1 failed"
    assert rows["frame to answer"] == "p50 50.5 ms, p90 90.1 ms"
    assert rows["stage 1"].endswith("50 runs")
    assert rows["source"] == "4 restarts, 3 frames overtaken"
    assert float(rows["start to first answer"].split()[0]) > 0
    sink.close()
    assert "memory, most seen" in err.getvalue()


def test_snapshots_are_readable_by_their_owner(tmp_path):
    SnapshotSink(tmp_path).result(result(image=picture()))
    (path,) = tmp_path.glob("*.jpg")
    assert os.stat(path).st_mode & stat.S_IRUSR
