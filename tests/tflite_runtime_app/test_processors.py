"""How many threads there is any use for, and that every command heeds it."""

import argparse
import os

import pytest

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app import board
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.cli import main, module_of


@pytest.fixture
def processors(monkeypatch):
    def there_are(number):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(number)))

    return there_are


@pytest.mark.parametrize(
    ("there", "wanted", "used"), [(4, 4, 4), (4, 1, 1), (4, 5, 4), (2, 10**30, 2), (256, 64, 64), (256, 65, 64), (1, 4, 1)]
)
def test_no_more_threads_than_processors_and_never_more_than_64(processors, there, wanted, used):
    processors(there)
    found, notice = board.usable_threads(wanted)
    assert found == used
    assert (notice == "") is (wanted == used)
    assert f"running on {used}" in notice or not notice


def test_no_thread_at_all_is_refused():
    for wanted in (0, -1):
        with pytest.raises(ValueError, match="1 thread or more"):
            board.usable_threads(wanted)


def test_who_asks_for_no_number_gets_four_or_what_there_is(processors):
    for there, expected in ((1, 1), (3, 3), (16, 4)):
        processors(there)
        assert board.default_threads() == expected
        parser = argparse.ArgumentParser()
        module_of("run").add_arguments(parser)
        assert parser.parse_args(["a", "b"]).threads == expected


def test_a_program_of_ones_own_is_told_by_the_notice(bundle_path, processors):
    processors(2)
    assert "100000 threads were asked for, 2 are of use here" in Classifier(read_bundle(bundle_path), 100_000).notice


@pytest.mark.parametrize("command", ["run", "explain", "recalibrate", "soak"])
def test_every_command_lowers_what_is_asked_for_and_says_so_once(tmp_path, tiny, picture, command, processors, capsys):
    processors(2)
    path = tiny_bundle.write(tmp_path / "t.tflite", tiny, tiny_bundle.bank())
    more = {"recalibrate": [picture, "--out", tmp_path / "new.tflite"], "soak": ["--frames", "10", "--no-faults"]}
    words = [command, path, *more.get(command, [picture]), "--threads", "99999999"]
    assert main([str(word) for word in words]) == 0
    err = capsys.readouterr().err
    assert err.count("99999999 threads were asked for, 2 are of use here: running on 2") == 1
    for refused in ("0", "-3", "many"):
        assert main([*map(str, words[:-1]), refused]) == 2
