"""Words that stand in the environment are read from there, and no message says a password."""

import os

import pytest

from tflite_runtime_app.cli import main
from tflite_runtime_app.commands.secret_words import revealed
from tflite_runtime_app.errors import UsageError


def test_a_place_is_filled_and_no_program_started_from_here_gets_the_secret():
    environment = {"A": "rtsp://me:secret@cam/1", "B_2": "-x =y", "OTHER": "z"}
    words = ["f.tflite", "env:A", "env:A", "--token=env:B_2", "env:", "./env:A", "x=env:A", "env:A b"]
    filled = ["f.tflite", environment["A"], environment["A"], "--token=-x =y", "env:", "./env:A", "x=env:A", "env:A b"]
    assert revealed(words, environment) == filled
    assert environment == {"OTHER": "z"}


def test_a_variable_that_is_not_set_is_asked_for(capsys):
    with pytest.raises(UsageError, match="env:NO_SUCH_ONE"):
        revealed(["env:NO_SUCH_ONE"], {})
    assert main(["f.tflite", "env:NO_SUCH_ONE"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_program_reads_them(monkeypatch, capsys):
    monkeypatch.setenv("CLIP_TEST_BUNDLE", "no-such-bundle.tflite")
    assert main(["env:CLIP_TEST_BUNDLE", "rpi"]) == 3
    assert "no-such-bundle.tflite" in capsys.readouterr().err
    assert "CLIP_TEST_BUNDLE" not in os.environ


@pytest.mark.parametrize(
    "words",
    [
        ["f", "rpi", "--mqttt", "mqtt://ha:se/cret@broker"],
        ["f", "rpi", "--serve", "rtsp://ha:se#cret@broker"],
        ["explain", "{bundle}", "rtsp://me:se cret@cam/x"],
        ["explain", "{bundle}", "me:se/cret@cam/x", "--debug"],
        ["{bundle}", "ftp://me:se/cret@cam/x.mp4"],
        ["{bundle}", "rtsp:/me:se/cret@cam/x"],
        ["{bundle}", "ftp://me:se?cret@cam/x", "--json"],
        ["{bundle}", "rtsp://me:se/cret@cam/x"],
        ["{bundle}", "http://cam/?pw=se_cret", "rpi"],
        ["doctor", "--red-card", "ftp://me:se/cret@cam/x"],
        ["recalibrate", "{bundle}", "ftp://me:se/cret@cam/x", "--out", "{out}"],
        ["{bundle}", "fake:64x48", "--frames", "1", "--on-label", "curl -u me:secret h"],
        ["{bundle}", "fake:64x48", "--frames", "1", "--on-label", "cat=curl 'Bearer secret"],
        ["{bundle}", "fake:64x48", "--frames", "1", "--mqtt", "mqtt://me:se/cret@h"],
    ],
)
def test_no_message_says_a_password(words, bundle_path, tmp_path, capfd):
    filled = [word.format(bundle=bundle_path, out=tmp_path / "out.tflite") for word in words]
    assert main(filled) in (1, 2)
    said = "".join(capfd.readouterr())
    assert "cret" not in said
    assert "***" in said or "--on-label" in said or "percent-encoded" in said


def test_a_fault_of_ours_says_no_password_either(monkeypatch, capsys):
    address = "rtsp://me:pass/word@cam/x"

    def faulty(arguments):
        raise ValueError(f"cannot open {address}")

    monkeypatch.setattr("tflite_runtime_app.commands.run.run", faulty)
    assert main(["f.tflite", "rpi", "--debug"]) == 1
    said = capsys.readouterr().err
    assert "pass/word" not in said
    assert said.count("rtsp://***@cam/x") == 2, "in the traceback and in the line"
