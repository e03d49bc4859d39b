"""`classify` with a model that fails on some images: the others are answered, and a run for months goes back to the model before."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.admission.replacing import previous_path
from tflite_runtime_app.cli import main
from tflite_runtime_app.text.beside import text_path

CAMERA = "raw:8x8"
REDS = bytes((255, 0, 0)) * 64 * 12  # a dozen frames


def watched(*words: object) -> subprocess.CompletedProcess[str]:
    """How a run ended that looked at a dozen red frames."""
    command = [sys.executable, "-m", "tflite_runtime_app", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=REDS, capture_output=True, env=environment, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def light(tmp_path):
    """A bundle whose model fails on what is red."""
    return tiny_bundle.write(tmp_path / "model.tflite", tiny_bundle.build(fails_on_red=True), tiny_bundle.bank())


def words(*values) -> list[str]:
    return [str(value) for value in values]


def test_of_still_images_the_others_are_answered(tmp_path, light, capsys):
    for colour in ("black", "red"):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
    black, red = tmp_path / "black.png", tmp_path / "red.png"
    assert main(words(light, black, red, black, "--json")) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["source"] for record in records] == words(black, red, black)
    assert ["error" in record for record in records] == [False, True, False]
    assert main(words(light, red, black)) == 1
    out, err = capsys.readouterr()
    assert out.startswith(str(black))
    assert err.splitlines()[0].startswith(f"classify: {red}: the model fails on this input")
    assert "1 image, 1 failed" in err


def test_recalibrate_leaves_the_image_out_and_explain_tells_it(tmp_path, light, capsys):
    for colour in ("black", "red"):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
    black, red = tmp_path / "black.png", tmp_path / "red.png"
    assert main(words("recalibrate", light, red, black, "--out", tmp_path / "new.tflite")) == 1
    assert capsys.readouterr().err.splitlines()[0].startswith(f"classify: {red}: the model fails on this input")
    assert (tmp_path / "new.tflite").exists()
    assert main(words("recalibrate", light, red, "--out", tmp_path / "none.tflite")) == 2
    capsys.readouterr()
    assert main(words("explain", light, red)) == 1
    assert capsys.readouterr().err.startswith("classify: the model fails on this input in stage_0")


def test_a_run_goes_back_to_the_last_good_model_and_says_so(tmp_path, tiny, light):
    kept = tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    done = watched(light, CAMERA)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 12 - 5
    told = [line for line in done.stderr.splitlines() if str(kept) in line]
    assert len(told) == 1
    assert told[0].startswith(f"classify: {light}: the model failed on 5 frames in a row")


def test_a_run_without_a_last_good_model_is_refused(light):
    done = watched(light, CAMERA)
    err = done.stderr
    assert done.returncode == 3
    assert err.count("the model fails on this input") == 6, "five frames, and the last once more in the reason"
    assert f"there is no last good one to go back to: {previous_path(light)}: no such file" in err.splitlines()[-1]


def test_a_last_good_model_that_nobody_signed_is_not_taken_where_a_signature_is_asked_for(tmp_path, tiny, light):
    from convert.commands.sign import make_keys, sign_file

    private, public = make_keys(tmp_path / "keys")
    sign_file(light, private, "bundle")
    kept = tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    done = watched(light, CAMERA, "--require-signature", public)
    assert done.returncode == 3
    assert f"expected its signature {kept}.sig" in done.stderr.splitlines()[-1]
    sign_file(kept, private, "bundle")
    done = watched(light, CAMERA, "--require-signature", public)
    assert done.returncode == 1
    assert f"the last good one runs: {kept}" in done.stderr


def test_typed_labels_are_kept_when_the_model_of_before_runs(tiny, light):
    """FILE.previous has no text tower of its own name: the one beside FILE serves both."""
    tiny_text.write(text_path(light))
    tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    done = watched(light, CAMERA, "--labels", "newt, heron", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["source"] for record in records if "error" in record] == [CAMERA] * 5 + ["model"]
    last = records[-1]
    assert {match["label"] for match in last["top"]} == {"newt", "heron"}
