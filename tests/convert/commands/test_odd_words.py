"""Bundles with odd names, and label files that are none: said in lines that a terminal does not obey, before torch is loaded."""

import json
import subprocess
import sys

import pytest

from convert.cli import main
from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle

NAME = "[bold]x[/nope]:cat:"


def test_inspect_shows_the_names_in_a_bundle_and_obeys_none(tmp_path, tiny, capsys):
    labels = tiny_bundle.bank(space_id="[/]space")
    path = tiny_bundle.write(tmp_path / "t\n[red]\x1b[2J.tflite", tiny, labels, name=NAME, space_id="[/]space")
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    for word in (NAME, "[/]space", r"t\n[red]\x1b[2J.tflite"):
        assert word in out
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["name"] == NAME


@pytest.mark.parametrize("words", [("inspect", "a\x1b[2J\nb.tflite"), ("build", "--model", "x\x1b[2J\ny"), ("--\x1b[2J",)])
def test_a_refusal_repeats_no_command_of_the_terminal(words, capfd):
    assert main(list(words)) != 0
    assert all(line.isprintable() for line in capfd.readouterr().err.split("\n"))


@pytest.mark.parametrize("command", [("labels", "away.tflite"), ("build",), ("evaluate", "away.tflite"), ("heads",)])
def test_a_label_file_that_is_none_is_refused_before_torch_is_loaded(tmp_path, command):
    (tmp_path / "l.txt").write_text("0\n1\n2\n")
    words = [*command, "--labels", str(tmp_path / "l.txt"), *(["--images", "."] if command == ("heads",) else [])]
    code = f"import sys; from convert.cli import main; print(main({words!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "2 False\n"
    assert "l.txt, line 1 (UTF-8): expected one label a line, found '0': numbers and no names" in done.stderr
