"""What is read is a regular file: whatever else lies at a path is told at once, and nobody waits for a writer."""

import os
import socket
import threading

import pytest

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.admission.open import checked_bundle, checked_labels
from tflite_runtime_app.admission.signing import read_public_key, verify
from tflite_runtime_app.bundle.labels import read_labels
from tflite_runtime_app.cli import main
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.files import open_regular, read_regular, what_it_is
from tflite_runtime_app.inference.preprocess import load_image
from tflite_runtime_app.text.file import read_text, whole_digest
from tflite_runtime_app.text.label_list import label_reader, read_label_file

KINDS = {"pipe": "a named pipe", "socket": "a socket", "device": "a device", "folder": "a folder"}


@pytest.fixture(params=KINDS)
def odd(request, tmp_path):
    """The path of something that is no file, its kind, and how a message calls it."""
    path = tmp_path / "odd"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    return path


def at_once(call):
    """What `call` raised, when it came back within ten seconds."""
    found = []

    def run():
        try:
            call()
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for ever"
    return found[0]


def test_what_is_no_file_is_told_by_its_kind(odd):
    for read in (open_regular, read_regular):
        error = at_once(lambda read=read: read(odd))
        assert isinstance(error, OSError)
        assert error.strerror in (*KINDS.values(), "Is a directory")
    assert what_it_is(odd) in KINDS.values()


def test_a_file_is_read_and_what_is_missing_is_missing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(path)
    assert (read_regular(path), read_regular(tmp_path / "link"), what_it_is(path)) == (b"bytes", b"bytes", "")
    assert what_it_is(tmp_path / "absent") == what_it_is("a\0b") == what_it_is("x" * 5000) == ""
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "absent")


@pytest.mark.parametrize(
    "read",
    [
        checked_bundle,
        checked_labels,
        read_labels,
        read_text,
        read_label_file,
        load_image,
        read_public_key,
        lambda path: verify(path, "bundle", None),
        lambda path: label_reader(str(path)),
    ],
)
def test_every_reader_says_so_in_one_line(odd, read):
    error = at_once(lambda: read(odd))
    assert isinstance(error, AppError)
    assert "\n" not in str(error)
    assert str(odd) in str(error)
    assert any(word in str(error) for word in (*KINDS.values(), "Is a directory"))


def test_a_signature_that_is_no_file_is_told_at_once(odd, tmp_path):
    path = tmp_path / "labels.npz"
    path.write_bytes(b"x")
    odd.rename(tmp_path / "labels.npz.sig")
    assert "expected a readable signature" in str(at_once(lambda: verify(path, "labels", None)))


def test_the_digest_of_what_is_no_file_is_none(odd):
    assert whole_digest(odd) == ""


def test_a_folder_may_be_called_as_a_label_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat").mkdir()
    assert label_reader("cat")().names == ("cat",)


def test_the_program_ends_at_once_with_one_line_whatever_is_no_file(odd, tmp_path, tiny, picture, capsys):
    good = tiny_bundle.write(tmp_path / "good.tflite", tiny, tiny_bundle.bank())
    images, code = [odd], 1
    if odd.is_dir():
        images, code = [], None
    lines = [
        ((odd, picture), 3),
        ((good, *images), code),
        ((good, picture, "--labels", odd), 3),
        ((good, picture, "--labels", "cat, dog", "--bank", odd), 3),
        ((good, picture, "--labels", "newt", "--text", odd), 3),
        ((good, picture, "--require-signature", odd), 2),
        (("install-model", odd, "--as", tmp_path / "service.tflite"), 3),
    ]
    for words, expected in lines:
        if expected is None:
            continue
        assert main([str(word) for word in words]) == expected, words
        err = capsys.readouterr().err
        assert err.count("classify: ") == 1, err
        assert "internal error" not in err
    odd.rename(f"{good}.sig")
    assert main(["install-model", str(good), "--as", str(tmp_path / "service.tflite")]) == 1
    assert "cannot install" in capsys.readouterr().err


def test_a_film_that_is_no_file_is_told_at_once(tmp_path, bundle_path, capsys):
    os.mkfifo(tmp_path / "film.mp4")
    assert main([str(bundle_path), str(tmp_path / "film.mp4")]) == 1
    assert "expected a video file, found a named pipe" in capsys.readouterr().err
