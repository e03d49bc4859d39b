"""The workshop's commands as their users meet them: one tiny model from its folder to classified images."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from calibration.samples import load, pixels, samples
from convert.cli import main
from convert.model.labels import LabelList, embed_labels
from convert.model.load import load_model
from convert.rewrites.recipe import STEPS
from tests.clone import ROOT
from tests.convert import model_folder
from tests.end_to_end.programs import python
from tflite_runtime_app.bundle.file import pack, read_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes, read_labels
from tflite_runtime_app.text.label_source import LabelSource


def words(*values) -> list[str]:
    return [str(value) for value in values]


@dataclass(frozen=True)
class Built:
    """What `convert build` was given and what it left."""

    folder: Path
    model: Path
    images: Path
    bundle: Path
    report: Path
    run: subprocess.CompletedProcess


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("commands")
    model, images = model_folder.write(folder / "small"), model_folder.write_pictures(folder / "pictures")
    (images / "red" / "broken.png").write_bytes(b"no image")
    bundle, report = folder / "out" / "small.tflite", folder / "out" / "report"
    arguments = ("--model", model, "--images", images, "--in-order", "--out", bundle, "--report", report)
    return Built(folder, model, images, bundle, report, python("convert", "build", *arguments))


def test_build_writes_bundle_and_report_and_ends_with_their_paths(built):
    assert built.run.returncode == 0, built.run.stderr
    assert built.run.stdout.splitlines()[-2:] == [str(built.bundle.resolve()), str((built.report / "index.html").resolve())]
    assert built.bundle.is_file()
    assert (built.report / "index.html").is_file()
    assert json.loads((built.report / "report.json").read_text())["target"]["name"] == "rpi"
    assert sorted(path.name for path in built.bundle.parent.iterdir()) == ["report", "small.tflite"]


def test_build_keeps_other_peoples_chatter_off_the_terminal(built):
    assert "20 images read, 1 skipped" in built.run.stderr
    for noise in ("Warning", "WARNING", "I0000", "tensorflow", "oneDNN", "Traceback"):
        assert noise not in built.run.stderr
        assert noise not in built.run.stdout


def test_the_bundle_is_what_was_asked_for(built):
    bundle = read_bundle(built.bundle)
    manifest, loaded = bundle.manifest, load_model(str(built.model), None, None)
    assert (manifest.name, manifest.target, manifest.weights_sha256) == ("small", "rpi", loaded.weights_sha256)
    assert [stage.blocks_done for stage in manifest.stages] == [1, 2, 3]
    assert manifest.space_id == loaded.space_id
    assert manifest.calibration.observer == "search"
    assert set(manifest.calibration.observers) >= {"scores", "fc_1", "gelu", "stream"}
    assert "softmax" not in manifest.calibration.observers, "its grid is prescribed"
    assert bundle.labels.names == model_folder.LABELS
    assert bundle.labels.templates == model_folder.TEMPLATES
    assert [gate.threshold for gate in manifest.gates] == [128, 128], "so few images cannot show that leaving early is safe"
    assert manifest.policy.name == "never"
    assert manifest.ladder == STEPS[: STEPS.index("two-term-stream") + 1], "so few images round no weights and correct no biases"
    assert set(manifest.limits) == {"cosine_mean", "agreement"}
    assert bundle.report == json.loads((built.report / "report.json").read_text())


def test_the_report_tells_what_was_measured_on_which_pictures(built):
    report = read_bundle(built.bundle).report
    assert len(report["skipped"]) + len(report["names"]) > 0
    assert report["parity"]["images"] == 8  # of 20, twelve went to ranges, gates and thresholds
    assert 0.5 < report["parity"]["cosine_mean"] <= 1
    assert len(report["noise"]["nsr"]) == 3
    assert report["calibration"]["from"] == "images"


def test_inspect_as_json(built):
    done = python("convert", "inspect", built.bundle, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["bytes"] == built.bundle.stat().st_size
    assert facts["labels"] == 4
    assert facts["xnnpack_share_of_macs"] >= 0.99
    assert set(facts["operators"]) == set(facts["islands"]) == {"stage_0", "stage_1", "stage_2", "gate_0", "gate_1"}
    for cut in facts["islands"].values():
        assert {"pieces": cut["pieces"], "left": cut["left"]} == cut["expected"]
    assert facts["islands"]["stage_1"]["left"]["SOFTMAX"] == 1
    assert facts["manifest"]["flatbuffer_sha256"] == read_bundle(built.bundle).manifest.flatbuffer_sha256


def test_inspect_for_people(built, capsys):
    assert main(words("inspect", built.bundle)) == 0
    shown = capsys.readouterr().out
    for word in ("small", "stage_0", "gate_1", "FULLY_CONNECTED", "search on", "rotation", "islands", "1 SOFTMAX"):
        assert word in shown


def test_classify(built):
    pictures = sorted((built.images / "blue").iterdir())[:2]
    done = python("tflite_runtime_app", built.bundle, *pictures, "--json")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["source"] for answer in answers] == words(*pictures)
    assert all({match["label"] for match in answer["top"]} == set(model_folder.LABELS) for answer in answers)
    assert all((answer["exit"], answer["block"]) == (2, 3) for answer in answers)


def test_classify_agrees_with_open_clip(built):
    """The most probable label by the board's program and by open_clip alone, over all images."""
    done = python("tflite_runtime_app", built.bundle, *sorted(built.images.iterdir()), "--json")
    assert done.returncode == 1, "one image is broken"
    answers = {a["source"]: a for a in map(json.loads, done.stdout.splitlines()) if "top" in a}
    loaded = load_model(str(built.model), None, None)
    found = load(samples([built.images]), loaded.preprocessing)
    embeddings = loaded.encode(torch.from_numpy(pixels(found.images))).numpy()
    cosine = embeddings @ read_bundle(built.bundle).labels.vectors.T / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert len(answers) == len(found) == 20
    for name, row in zip(found.names, cosine, strict=True):
        match = answers[name]["top"][0]
        best = model_folder.LABELS.index(match["label"])
        assert row.max() - row[best] < 0.1
        assert match["cosine"] == pytest.approx(row[best], abs=0.1)


def verify(built, bundle, *more) -> int:
    return main(words("verify", bundle, "--images", built.images, "--model", built.model, *more))


def test_verify_passes_within_the_limits(built):
    done = python("convert", "verify", built.bundle, "--images", built.images, "--model", built.model, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["images"], len(found["skipped"])) == (20, 1)
    assert found["top1_float"] is not None, "folders are named as the labels are"
    assert len(found["exits"]) == 3


def test_verify_measures_what_build_measured(built, capsys):
    """On the same images, which --in-order lets one name, the same figures: those that the report gives were not fitted to others."""
    assert verify(built, built.bundle, "--skip", 12, "--json") == 0
    found, reported = json.loads(capsys.readouterr().out), read_bundle(built.bundle).report["parity"]
    assert found["cosine_mean"] == pytest.approx(reported["cosine_mean"], abs=1e-6)
    assert found["agreement"] == reported["agreement"]


def with_limits(built, path: Path, **limits) -> Path:
    """The same bundle held to other limits."""
    bundle = read_bundle(built.bundle)
    members = {"labels.npz": labels_to_bytes(bundle.labels), "report.json": json.dumps(bundle.report).encode()}
    path.write_bytes(pack(bundle.flatbuffer, dataclasses.replace(bundle.manifest, limits=limits), members)[0])
    return path


def test_verify_fails_when_a_limit_is_missed(built, tmp_path, capsys):
    assert verify(built, with_limits(built, tmp_path / "b.tflite", cosine_mean=0.99999)) == 1
    captured = capsys.readouterr()
    assert re.search(r"convert: mean cosine 0\.\d+ is under 0\.99999", captured.err)
    assert "INT8, full depth" in captured.out, "the figures are shown all the same"
    assert verify(built, with_limits(built, tmp_path / "c.tflite", cosine_mean=0.5, agreement=0.0)) == 0
    assert verify(built, with_limits(built, tmp_path / "d.tflite")) == 0


def test_agreement_has_a_slack_of_two_standard_errors(built, tmp_path, capsys):
    assert verify(built, built.bundle, "--json") == 0
    agreement = json.loads(capsys.readouterr().out)["agreement"]
    for limit in np.linspace(0.02, 0.98, 13):
        slack = 2 * (limit * (1 - limit) / 20) ** 0.5
        wanted = 1 if agreement < limit - slack else 0
        if abs(agreement - limit + slack) > 1e-6:
            assert verify(built, with_limits(built, tmp_path / "b.tflite", agreement=float(limit))) == wanted
            break


def test_verify_with_labels_of_its_own(built, tmp_path, capsys):
    (tmp_path / "l.txt").write_text("red\tsomething red\ngreen\tleaf\nblue\tsky, heaven\ngrey\tstone\n")
    bundle = with_limits(built, tmp_path / "b.tflite")  # its limits were measured with other labels
    assert verify(built, bundle, "--labels", tmp_path / "l.txt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["top1_int8"] is not None
    (tmp_path / "l.txt").write_text("red\tsomething red\ngreen\tleaf\n")
    assert verify(built, built.bundle, "--labels", tmp_path / "l.txt") == 2
    assert "'blue'" in capsys.readouterr().err


def test_verify_refuses_another_models_weights(built, tmp_path, capsys):
    other = model_folder.write(tmp_path / "small", seed=9)
    assert main(words("verify", built.bundle, "--images", built.images, "--model", other)) == 3
    assert "built from weights" in capsys.readouterr().err


def test_verify_names_the_way_to_the_model(built, capsys):
    """The bundle's model is not embedded: it must be told."""
    assert main(words("verify", built.bundle, "--images", built.images)) == 3
    assert "--model" in capsys.readouterr().err


def test_verify_with_nothing_left(built, capsys):
    assert verify(built, built.bundle, "--skip", 99) == 2
    assert "--skip 99 leaves none" in capsys.readouterr().err


def test_labels_for_a_bundle(built, tmp_path, capsys):
    out = tmp_path / "labels.npz"
    arguments = words("labels", built.bundle, "--model", built.model, "--labels", "cat, dog, red", "--out", out)
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out.resolve())
    bank = read_labels(out)
    assert bank.names == ("cat", "dog", "red")
    inside = read_bundle(built.bundle).labels
    assert bank.space_id == inside.space_id
    np.testing.assert_allclose(bank.vectors[2], inside.vectors[0], atol=1e-3)
    done = python("tflite_runtime_app", built.bundle, built.images / "red" / "0.png", "--labels", out, "--json")
    assert done.returncode == 0, done.stderr
    assert {match["label"] for match in json.loads(done.stdout)["top"]} == {"cat", "dog", "red"}


def test_labels_are_not_written_over_without_force(built, tmp_path, capsys):
    out = tmp_path / "labels.npz"
    out.write_bytes(b"mine")
    arguments = words("labels", built.bundle, "--model", built.model, "--labels", "cat, dog", "--out", out)
    assert main(arguments) == 2
    assert out.read_bytes() == b"mine"
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert read_labels(out).names == ("cat", "dog")


def test_labels_of_the_same_weights_in_another_folder_fit(built, tmp_path):
    import shutil

    shutil.copytree(built.model, tmp_path / "renamed")
    out = tmp_path / "labels.npz"
    assert main(words("labels", built.bundle, "--model", tmp_path / "renamed", "--labels", "cat, dog", "--out", out)) == 0
    assert read_labels(out).space_id == read_bundle(built.bundle).manifest.space_id


def test_a_bundle_is_not_written_over_without_force(built, capsys):
    before = built.bundle.read_bytes()
    assert main(words("build", "--model", built.model, "--images", built.images, "--out", built.bundle)) == 2
    assert "--force" in capsys.readouterr().err
    assert built.bundle.read_bytes() == before


def test_a_resnet_is_refused(built, tmp_path, capsys):
    resnet = model_folder.write(tmp_path / "resnet", vision=model_folder.RESNET)
    assert main(words("build", "--model", resnet, "--images", built.images, "--out", tmp_path / "r.tflite")) == 3
    assert "ResNet tower (ModifiedResNet)" in capsys.readouterr().err
    assert not (tmp_path / "r.tflite").exists()


WRONG = {
    "no such command": (["bild"], 2, "bild"),
    "no such option": (["build", "--colour", "red"], 2, "--colour"),
    "no such target": (["build", "--target", "pi"], 2, "there are: host, mcu-alif-e8"),
    "no such observer": (["build", "--observer", "guess"], 2, "min-max"),
    "no such images": (["build", "--images", "/nowhere/at/all"], 2, "/nowhere/at/all"),
    "exits that are no numbers": (["build", "--exits", "four"], 2, "4,6,8"),
    "no such model": (["build", "--model", "nothing"], 2, "'nothing'"),
    "no bundle": (["inspect", "/nowhere.tflite"], 3, "/nowhere.tflite"),
    "a skip below zero": (["verify", "x.tflite", "--images", ".", "--skip", "-1"], 2, "--skip"),
    "verify without images": (["verify", "x.tflite"], 2, "--images"),
    "labels without labels": (["labels", "x.tflite"], 2, "--labels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage(case, capsys):
    arguments, code, named = WRONG[case]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert named in re.sub(r"\s+", " ", captured.err)
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("exits", ["0,2", "3", "2,1", "1,1"])
def test_impossible_exits(built, exits, tmp_path, capsys):
    arguments = words("build", "--model", built.model, "--images", built.images, "--exits", exits, "--out", tmp_path / "x.tflite")
    assert main(arguments) == 2
    assert "--exits: exits must rise and lie between 1 and 2" in capsys.readouterr().err


def test_a_model_without_calibration_asks_for_images(built, tmp_path, capsys):
    assert main(words("build", "--model", built.model, "--out", tmp_path / "x.tflite")) == 2
    assert "--images" in capsys.readouterr().err


def test_too_few_pictures(built, tmp_path, capsys):
    pictures = sorted((built.images / "red").glob("?.png"))[:4]
    options = [word for picture in pictures for word in ("--images", picture)]
    assert main(words("build", "--model", built.model, *options, "--out", tmp_path / "x.tflite")) == 2
    assert "4 readable images" in capsys.readouterr().err


def test_a_calibration_of_other_weights_is_refused(built, tmp_path, capsys):
    """Numbers of one network say nothing of another."""
    from calibration.stored import to_bytes
    from tests.calibration.test_stored import calibrated

    folder = model_folder.write(tmp_path / "other", seed=3)
    (folder / "calibration.npz").write_bytes(to_bytes(calibrated()))
    assert main(words("build", "--model", folder, "--out", tmp_path / "x.tflite")) == 2
    assert "was made for weights" in capsys.readouterr().err
    (folder / "calibration.npz").write_bytes(b"garbage")
    assert main(words("build", "--model", folder, "--out", tmp_path / "x.tflite")) == 2
    assert "calibration.npz: no calibration" in capsys.readouterr().err


def test_help_and_version_without_the_workshop_being_loaded():
    """Torch and TensorFlow take seconds to import; help must not wait for them."""
    code = "import sys; from convert.cli import main; main(['--help']); sys.exit('torch' in sys.modules or 'tensorflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("build", "calibrate", "inspect", "labels", "verify"):
        assert command in done.stdout


def test_version(capsys):
    import tflite_runtime_app

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"convert {tflite_runtime_app.__version__}"


def test_debug_shows_the_traceback(capsys):
    assert main(["inspect", "/nowhere.tflite", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stored_calibration_builds_the_same_file_without_images(built, tmp_path):
    """`calibrate` keeps numbers in the model's folder; building from them gives the very flatbuffer that the images gave."""
    import shutil

    model = tmp_path / "small"
    shutil.copytree(built.model, model)
    assert python("convert", "calibrate", "--model", model, "--images", built.images, "--in-order").returncode == 0
    done = python("convert", "build", "--model", model, "--out", tmp_path / "x.tflite")
    assert done.returncode == 0, done.stderr
    assert read_bundle(tmp_path / "x.tflite").flatbuffer == read_bundle(built.bundle).flatbuffer


@pytest.mark.slow
def test_the_same_command_gives_the_same_flatbuffer(built, tmp_path):
    arguments = ("--model", built.model, "--images", built.images, "--in-order", "--out", tmp_path / "again.tflite")
    assert python("convert", "build", *arguments).returncode == 0
    assert read_bundle(tmp_path / "again.tflite").flatbuffer == read_bundle(built.bundle).flatbuffer


def test_evaluate_writes_page_figures_and_goes_on(built, tmp_path, capsys):
    out = tmp_path / "evaluation"
    arguments = ("evaluate", built.bundle, "--images", built.images, "--model", built.model, "--out", out)
    assert main(words(*arguments)) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-2:] == [str((out / "evaluation.json").resolve()), str((out / "index.html").resolve())]
    found = json.loads((out / "evaluation.json").read_text())
    assert (found["images"], len(found["skipped"])) == (20, 1)
    assert found["labelled"], "folders are named as the labels are"
    for key in ("int8", "float"):
        assert found["quadrants"][key]["harmed"] == found["quadrants"][key]["rescued"] == 0, "no exit is open"
    assert len(found["inr"]) == len(found["exits"]) == 3
    assert found["float_ms"] > 0
    assert found["noise"] == read_bundle(built.bundle).report["noise"]
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 2
    assert "rescued" in page
    assert "float, full depth, PyTorch" in page
    assert ">NSR<" in page
    assert main(words(*arguments, "--json")) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["exits"] == found["exits"], "milliseconds too: nothing was computed again"


def test_evaluate_wants_one_kind_of_source(built, tmp_path, capsys):
    assert main(words("evaluate", built.bundle, "--model", built.model)) == 2
    assert main(words("evaluate", built.bundle, "--imagenet", built.images, "--model", built.model, "--out", tmp_path)) == 2
    assert "expected one for each of 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"), [("--policy", "telepathy"), ("--gate", "oracle"), ("--risk", "1.5"), ("--budget", "0")]
)
def test_odd_wishes_for_exits_are_refused(built, tmp_path, option, value):
    arguments = ("--model", built.model, "--images", built.images, "--out", tmp_path / "x.tflite")
    assert main(words("build", *arguments, option, value)) == 2
    assert not (tmp_path / "x.tflite").exists()
    assert main(words("build", "--model", built.model, "--budget", "0.7", "--out", tmp_path / "x.tflite")) == 2, "without images"


@pytest.mark.parametrize("kind", ["trained", "fitted"])
def test_heads_are_made_kept_and_found_again(built, tmp_path, monkeypatch, capsys, kind):
    monkeypatch.setattr("convert.commands.heads.LEAST", 10)
    folder = model_folder.write(tmp_path / "small")
    plain = load_model(str(folder), None, None)
    arguments = ("heads", "--model", folder, "--images", built.images, "--exits", "1,2", "--views", "2", "--kind", kind)
    assert main(words(*arguments)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str((folder / "heads.safetensors").resolve())
    found = load_model(str(folder), None, None)
    assert set(found.tower().exit_heads) == {1, 2}
    assert {len(head.linear) for head in found.heads.values()} == {4 if kind == "trained" else 1}
    assert not (folder / "heads.safetensors.state").exists(), "what training kept is gone once the heads are written"
    assert found.weights_sha256 != plain.weights_sha256, "a calibration made before does not fit"
    assert found.space_id == plain.space_id, "labels made before do"
    assert main(words(*arguments[:-1], "guessed")) == 2
    (folder / "heads.safetensors").write_bytes(b"of an older version")
    assert main(words(*arguments)) == 0, "heads are made anew over those that cannot be read"


def test_heads_want_more_than_a_handful_of_pictures(built, capsys):
    assert main(words("heads", "--model", built.model, "--images", built.images, "--exits", "1")) == 2
    assert "500 is the least" in capsys.readouterr().err
    assert main(words("heads", "--model", built.model, "--images", built.images, "--exits", "9")) == 2


@pytest.mark.slow
def test_build_with_text_writes_both(tmp_path):
    model, pictures = model_folder.write(tmp_path / "small"), model_folder.write_pictures(tmp_path / "pictures")
    out = tmp_path / "out" / "small.tflite"
    arguments = ("--model", model, "--images", pictures, "--with-text", "--out", out, "--report", tmp_path / "report")
    done = python("convert", "build", *arguments)
    assert done.returncode == 0, done.stderr
    assert "text tower with int8 weights" in done.stderr
    assert done.stdout.splitlines()[-2] == str(out)
    found = LabelSource(read_bundle(out), "a red mug, green", cache=tmp_path / "cache").read()
    wanted = embed_labels(LabelList(("a red mug", "green"), ("1", "2")), load_model(str(model), None, None)).vectors
    assert (found.vectors * wanted).sum(1).min() > 0.999
