"""`classify` with a model that fails on some images: the others are answered, and a run for months goes back to the model before."""

import json

import pytest
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.admission.open import previous_path
from tflite_runtime_app.cli import main
from tflite_runtime_app.text.file import text_path

CAMERA = "fake:64x48,rate=50"


@pytest.fixture
def light(tmp_path):
    """A bundle whose model fails on whatever is not black."""
    return tiny_bundle.write(tmp_path / "model.tflite", tiny_bundle.build(fails_on_light=True), tiny_bundle.bank())


def words(*values) -> list[str]:
    return [str(value) for value in values]


def test_of_still_images_the_others_are_answered(tmp_path, light, capsys):
    for colour in ("black", "white"):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
    black, white = tmp_path / "black.png", tmp_path / "white.png"
    assert main(words(light, black, white, black, "--json")) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["source"] for record in records] == words(black, white, black)
    assert ["error" in record for record in records] == [False, True, False]
    assert main(words(light, white, black)) == 1
    out, err = capsys.readouterr()
    assert out.startswith(str(black))
    assert err.splitlines()[0].startswith(f"classify: {white}: the model fails on this input")
    assert "1 image, 1 failed" in err


def test_recalibrate_leaves_the_image_out_and_explain_tells_it(tmp_path, light, capsys):
    for colour in ("black", "white"):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
    black, white = tmp_path / "black.png", tmp_path / "white.png"
    assert main(words("recalibrate", light, white, black, "--out", tmp_path / "new.tflite")) == 1
    assert capsys.readouterr().err.splitlines()[0].startswith(f"classify: {white}: the model fails on this input")
    assert (tmp_path / "new.tflite").exists()
    assert main(words("recalibrate", light, white, "--out", tmp_path / "none.tflite")) == 2
    capsys.readouterr()
    assert main(words("explain", light, white)) == 1
    assert capsys.readouterr().err.startswith("classify: the model fails on this input in stage_0")


def test_a_run_goes_back_to_the_last_good_model_and_says_so(tmp_path, tiny, light, capsys):
    kept = tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    assert main(words(light, CAMERA, "--frames", 3)) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    told = [line for line in err.splitlines() if str(kept) in line]
    assert len(told) == 1
    assert told[0].startswith(f"classify: {light}: the model failed on 5 frames in a row")


def test_a_run_without_a_last_good_model_is_refused(light, capsys):
    assert main(words(light, CAMERA)) == 3
    err = capsys.readouterr().err
    assert err.count("the model fails on this input") == 6, "five frames, and the last once more in the reason"
    assert f"there is no last good one to go back to: {previous_path(light)}: no such file" in err.splitlines()[-1]


def test_a_last_good_model_that_nobody_signed_is_not_taken_where_a_signature_is_asked_for(tmp_path, tiny, light, capsys):
    from convert.commands.sign import make_keys, sign_file

    private, public = make_keys(tmp_path / "keys")
    sign_file(light, private, "bundle")
    kept = tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    assert main(words(light, CAMERA, "--require-signature", public)) == 3
    assert f"expected its signature {kept}.sig" in capsys.readouterr().err.splitlines()[-1]
    sign_file(kept, private, "bundle")
    assert main(words(light, CAMERA, "--require-signature", public, "--frames", 2)) == 1
    assert f"the last good one runs: {kept}" in capsys.readouterr().err


def test_typed_labels_are_kept_when_the_model_of_before_runs(tiny, light, capsys):
    """FILE.previous has no text tower of its own name: the one beside FILE serves both."""
    tiny_text.write(text_path(light))
    tiny_bundle.write(previous_path(light), tiny, tiny_bundle.bank())
    assert main(words(light, CAMERA, "--labels", "newt, heron", "--frames", 1, "--json")) == 1
    *failures, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [failure["source"] for failure in failures] == [CAMERA] * 5 + ["model"]
    assert {match["label"] for match in last["top"]} == {"newt", "heron"}
