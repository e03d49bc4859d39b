"""Files, labels and models with names that a terminal would obey, or that are no text at all."""

import csv
import io
import json
import os
import shutil

import pytest

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.tiny_bundle import write
from tflite_runtime_app.cli import main

ODD = ("a\nb.png", "\x1b[31mred\x07.png", "left\u202etfel.png", "end\u2028.png", os.fsdecode(b"caf\xe9.png"), "=1+1.png")


@pytest.fixture
def odd_pictures(tmp_path, picture):
    for name in ODD:
        shutil.copy(picture, tmp_path / name)
    return [str(tmp_path / name) for name in ODD]


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
@pytest.mark.parametrize("there", [True, False])
def test_a_line_a_file_and_none_is_obeyed(bundle_path, odd_pictures, capfd, form, there):
    names = odd_pictures if there else [name.replace(".png", "-gone.png") for name in odd_pictures]
    assert main([str(bundle_path), *names, *form]) == (0 if there else 1)
    out, err = capfd.readouterr()
    assert harmless(out)
    assert harmless("\n".join(line for line in err.split("\n") if "INFO" not in line))
    if form == ("--json",):
        assert [json.loads(line)["source"] for line in out.splitlines()] == names
    elif form:
        assert len(list(csv.reader(io.StringIO(out)))) == len(out.splitlines()) == 1 + len(ODD)
    elif there:
        assert len(out.splitlines()) == len(ODD)


def test_a_model_that_is_not_there_is_named_on_one_line(capfd):
    for name in ODD:
        assert main([f"away-{name}", "x.png"]) == 3
        (line,) = [line for line in capfd.readouterr().err.splitlines() if "INFO" not in line]
        assert line.isprintable()


def test_words_that_are_no_options_are_shown_escaped(bundle_path, capfd):
    assert main([str(bundle_path), "x.png", "--\x1b[31m"]) == 2
    assert harmless(capfd.readouterr().err)


@pytest.mark.parametrize("command", [("doctor",), ("run",), ("explain",)])
def test_the_name_of_a_space_is_never_obeyed(tmp_path, tiny, picture, capfd, command):
    labels = tiny_bundle.bank(space_id="of\x1b[2Janother\nspace")
    path = write(tmp_path / "t.tflite", tiny, labels)
    words = [path] if command == ("doctor",) else [path, picture]
    assert main([*command, *map(str, words)]) != 0
    out, err = capfd.readouterr()
    assert harmless(out)
    assert harmless("\n".join(line for line in err.split("\n") if "INFO" not in line))
