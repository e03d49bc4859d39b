"""Files appear whole or not at all, and other people's chatter stays off the terminal."""

import os
import sys

import pytest

from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.quiet import quiet


def test_a_file_in_a_new_folder(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "x.bin", b"content")
    assert (tmp_path / "a" / "b" / "x.bin").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.bin"]


def test_what_was_there_is_replaced_at_once(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tflite_runtime_app.files.os.replace", fails)
    with pytest.raises(UsageError, match=r"cannot write .*x\.bin: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write"):
        write_atomically(tmp_path / "file" / "x.bin", b"")


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "x.bin").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        write_atomically(tmp_path / "x.bin", b"")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_quiet_swallows_python_and_native_output(capfd):
    with quiet():
        print("python")
        os.write(2, b"native")
    print("after", file=sys.stderr)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "after\n")


def test_what_was_said_before_a_failure_is_shown(capfd):
    with pytest.raises(ValueError, match="broken"), quiet():
        os.write(2, b"the reason\n")
        raise ValueError("broken")
    assert "the reason" in capfd.readouterr().err
