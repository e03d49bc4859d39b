"""`classify soak` says which faults it lived through, reaches all of them with few frames, and gives no clean bill without them."""

import json

import pytest

from tflite_runtime_app.cli import main
from tflite_runtime_app.commands import soak
from tflite_runtime_app.live import open_feed
from tflite_runtime_app.live.patience import Patience


@pytest.fixture
def hasty(monkeypatch) -> None:
    """A camera that hangs is noticed sooner than in service."""
    real = open_feed.open_feed
    monkeypatch.setattr(soak, "open_feed", lambda word, options: real(word, options, Patience(stall=1.0)))


@pytest.mark.usefixtures("hasty")
def test_a_few_frames_reach_every_fault_and_the_figures_say_so(bundle_path, capsys):
    assert main(["soak", str(bundle_path), "--frames", "100", "--threads", "1", "--json", "--most-growth", "500"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["frames"] == 100
    faults = figures["faults"]
    assert faults["die"] >= 3 and faults["stall"] >= 3 and faults["repeat"] >= 2 and faults["garbage"] >= 2
    assert figures["restarts"] == sum(faults.values()) - faults["broken"]
    assert figures["broken_frames"] == figures["faults"]["broken"] > 0


@pytest.mark.usefixtures("hasty")
def test_a_fault_that_never_came_up_is_told_and_is_a_failure(bundle_path, capsys, monkeypatch):
    monkeypatch.setattr(soak, "PARTS", 2)
    assert main(["soak", str(bundle_path), "--frames", "100", "--threads", "1", "--most-growth", "500"]) == 1
    told = capsys.readouterr()
    assert "never came up: repeat, garbage; give more --frames than 100" in told.err
    assert "die 1, stall 1, repeat 0, garbage 0, broken" in told.out


def test_too_few_frames_for_all_faults_are_refused(bundle_path, capsys):
    assert main(["soak", str(bundle_path), "--frames", "99"]) == 2
    assert "expected --frames 100 or more, so that every fault comes up, found 99" in capsys.readouterr().err


def test_without_faults_it_says_that_none_was_tried(bundle_path, capsys):
    assert main(["soak", str(bundle_path), "--frames", "20", "--threads", "1", "--no-faults", "--most-growth", "500"]) == 0
    assert "faults             none tried" in capsys.readouterr().out
