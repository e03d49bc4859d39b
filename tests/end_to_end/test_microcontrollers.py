"""`convert build` and `convert check` for microcontrollers as their users meet them, and what is refused before minutes are spent."""

import itertools
import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from convert.board.estimate import misses, open_clip_shapes, shape_of
from convert.cli import main
from convert.emit.manifest import cascade_of
from convert.measure.parity import float_embeddings
from convert.micro import limits as checking
from convert.micro.constants import numbers_of
from convert.model.load import load_model
from convert.passes import gelu_form
from convert.passes.state import GraphState
from convert.support.progress import Silent
from convert.tflite.flatbuffer import read_model, write_model
from targets.memory import arena_bytes, flash_bytes
from targets.profile import load, names
from tests.clone import ROOT
from tests.convert import model_folder
from tests.convert.micro.test_c import STRICT, compiler
from tests.end_to_end.programs import python
from tests.end_to_end.test_commands import words
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.manifest import from_json
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tools.arm64.probe import views

TARGETS = ("mcu-alif-e8", "mcu-esp32p4", "mcu-stm32n6")


@dataclass(frozen=True)
class Built:
    """What `convert build --target mcu-…` was given and what it left."""

    model: Path
    images: Path
    folder: Path
    run: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("micro")
    model, images = model_folder.write(folder / "small"), model_folder.write_pictures(folder / "pictures")
    out = folder / "out"
    arguments = ("--model", model, "--images", images, "--exits", "2", "--target", "mcu-alif-e8", "--out", out)
    return Built(model, images, out, python("convert", "build", *arguments))


@pytest.fixture(scope="module")
def report(built) -> dict:
    assert built.run.returncode == 0, built.run.stderr
    return json.loads((built.folder / "report.json").read_text())


def test_the_folder_holds_stages_c_manifest_and_report(built, report):
    expected = {"manifest.json", "report.json", "index.html", "tflm_stages.cc"}
    expected |= {f"clip_rescue{part}" for part in (".h", ".c", "_model.h", "_model.c")}
    for k in range(2):
        expected |= {f"stage_{k}.tflite", f"stage_{k}_vela.tflite", f"clip_rescue_stage_{k}.c"}
    assert {path.name for path in built.folder.iterdir()} == expected
    assert built.run.stdout.splitlines()[-2:] == words(built.folder.resolve(), (built.folder / "index.html").resolve())
    assert from_json((built.folder / "manifest.json").read_text()).target == "mcu-alif-e8"


def test_the_report_holds_what_was_measured(report):
    micro = report["micro"]
    assert [stage["key"] for stage in micro["stages"]] == ["stage_0", "stage_1"]
    for stage in micro["stages"]:
        assert stage["agreement"]["different"] == 0
        assert stage["agreement"]["values"] > 0
        assert stage["arena"]["total"] == stage["arena"]["head"] + stage["arena"]["tail"]
        assert stage["operators"]["CONV_2D"] > 0
        assert stage["vela"]["cpu_operators"] == 0
        assert stage["ms"] == pytest.approx(stage["vela"]["cycles"] / 400e3)
    assert micro["ms"] == pytest.approx(sum(stage["ms"] for stage in micro["stages"]))
    assert micro["measured_on_a_part"] is False
    assert micro["flash"]["labels"] == 4 * 24 + sum(len(name) + 1 for name in model_folder.LABELS)
    assert micro["decisions"]["pictures"] == micro["stages"][0]["agreement"]["pictures"] == micro["gelu"]["images"]
    assert (micro["decisions"]["other_exit"], micro["decisions"]["other_label"]) == (0, 0)
    assert len(micro["gelu"]["form_cosines"]) == len(micro["cosines"]) == 2
    assert min(micro["cosines"]) > 0.3
    assert abs(micro["gelu"]["form_cosines"][-1] - micro["gelu"]["operator_cosines"][-1]) < 0.05


def test_the_summary_says_what_it_rests_on(built, report):
    shown = " ".join(built.run.stdout.split())
    for told in (
        "Arena and SRAM in kB",
        "no part was measured",
        "predicted by Vela's estimate",
        "TFLM's reference kernels against LiteRT's",
    ):
        assert told in shown
    assert "GELU as cubic form: cosine with float" in shown
    page = (built.folder / "index.html").read_text("utf-8")
    assert "On the microcontroller" in page
    assert f"0 of {report['micro']['stages'][1]['agreement']['values']}" in page


def test_the_c_of_the_folder_compiles_without_a_warning(built, report, tmp_path):
    sources = sorted(built.folder.glob("*.c"))
    assert len(sources) == 4
    for source in sources:
        done = subprocess.run(
            [compiler(), *STRICT, "-c", str(source), "-o", str(tmp_path / f"{source.stem}.o")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_arrays_are_velas_files_where_there_is_an_ethos_u(built, report):
    text = (built.folder / "clip_rescue_stage_1.c").read_text()
    values = text.split("= {\n")[1].split("\n};")[0].replace("\n", "").split(",")
    assert bytes(map(int, values)) == (built.folder / "stage_1_vela.tflite").read_bytes()
    assert "resolver.AddEthosU();" in (built.folder / "tflm_stages.cc").read_text()


def test_a_folder_with_something_in_it_is_not_written_over(built, report, capsys):
    arguments = ("build", "--model", built.model, "--images", built.images, "--target", "mcu-alif-e8", "--out", built.folder)
    assert main(words(*arguments)) == 2
    assert "exists; write over it with --force" in capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
def test_check_passes_the_folder_on_every_part(built, report, capsys, target):
    assert main(words("check", built.folder, "--target", target, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["missed"], found["measured_on_a_part"]) == (target, [], False)
    assert [stage["key"] for stage in found["stages"]] == ["stage_0", "stage_1"]
    assert (found["ms"] is None) is (target == "mcu-stm32n6"), "nothing was published for it"


def test_check_for_people(built, report, capsys):
    assert main(words("check", built.folder, "--target", "mcu-esp32p4")) == 0
    shown = capsys.readouterr().out
    assert "missed" not in shown
    assert shown.count("kept") == 5
    assert "predicted by times that others published" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100


def test_check_takes_one_stages_file(built, report, capsys):
    assert main(words("check", built.folder / "stage_1.tflite", "--target", "mcu-esp32p4", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert [stage["key"] for stage in found["stages"]] == ["stage_1"]


def test_check_names_operators_that_are_missing(built, report, tmp_path, capsys):
    """Vela's file holds an operator that only a part with an Ethos-U has."""
    (tmp_path / "x.tflite").write_bytes((built.folder / "stage_0_vela.tflite").read_bytes())
    assert main(words("check", tmp_path / "x.tflite", "--target", "mcu-esp32p4")) == 1
    assert "CUSTOM" in capsys.readouterr().err


def test_limits_that_are_missed_are_told_with_their_numbers(built, report):
    found = checking.check(built.folder, replace(load("mcu-esp32p4"), model_mb=0, arena_kb=1, latency_ms=0, image_px=4))
    assert [verdict.what for verdict in found.missed] == [
        "flash, without the program",
        "arena",
        "longest side of an image",
        "latency, predicted",
    ]


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [(None, 2, "expected a stage's .tflite or a folder of them"), (b"none", 1, "TensorFlow Lite file")],
)
def test_check_refuses_what_is_no_stage(tmp_path, capsys, content, code, told):
    path = tmp_path / "x.tflite"
    if content is not None:
        path.write_bytes(content)
    assert main(words("check", path, "--target", "mcu-esp32p4")) == code
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_a_folder_is_not_for_a_board(built, report, capsys):
    assert main(words("check", built.folder, "--target", "rpi")) == 2
    assert "is a folder, rpi takes a bundle's file" in capsys.readouterr().err


def test_the_embedded_model_is_too_large_for_the_smallest_part_and_that_is_told_at_once(tmp_path, capsys):
    assert main(words("build", "--target", "mcu-esp32p4", "--out", tmp_path / "x")) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("convert: pocket does not fit mcu-esp32p4: about 25 MB of flash, at most 14")
    assert "this model would fit --target mcu-" in error
    assert "rpi" not in error, "a board with Linux is no answer to this question"


def test_options_that_a_microcontroller_does_not_have_are_refused(tmp_path, built, capsys):
    common = ("build", "--target", "mcu-alif-e8", "--out", tmp_path / "x")
    assert main(words(*common, "--with-text")) == 2
    assert "mcu-alif-e8 is a microcontroller" in capsys.readouterr().err
    assert main(words(*common, "--model", built.model, "--images", built.images, "--policy", "patience")) == 2
    assert "--policy patience is not one of the C code's" in capsys.readouterr().err


def test_packages_that_are_missing_are_named_before_anything_is_built(tmp_path, built, monkeypatch, capsys):
    import importlib.util

    real = importlib.util.find_spec
    for package in ("tflite_micro", "ethosu"):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest, gone=package: None if name == gone else real(name, *rest)
        )
        arguments = (
            "build",
            "--target",
            "mcu-alif-e8",
            "--out",
            tmp_path / "x",
            "--model",
            built.model,
            "--images",
            built.images,
        )
        assert main(words(*arguments)) == 2
        assert "'.[mcu]'" in capsys.readouterr().err


def test_what_fits_is_estimated_from_shapes_alone(built, report):
    """The arena within a factor that tells parts apart, flash within a tenth."""
    loaded = load_model(str(built.model), None, None)
    shape = shape_of(loaded.tower(), 2)
    files = sum((built.folder / f"stage_{k}.tflite").stat().st_size for k in range(2))
    assert flash_bytes(shape) == pytest.approx(files + 100_000, rel=0.25)
    largest = max(stage["arena"]["total"] for stage in report["micro"]["stages"])
    assert 0.7 * largest < arena_bytes(shape) < 1.6 * largest


def test_the_clip_towers_of_open_clip_are_told_from_what_fits():
    shapes = dict(open_clip_shapes())
    assert misses(shapes["ViT-B-32"], load("mcu-alif-e8")) == ()
    assert misses(shapes["ViT-B-32"], load("mcu-esp32p4"))
    assert misses(shapes["ViT-L-14"], load("mcu-alif-e8"))


def test_the_microcontrollers_are_listed(capsys):
    assert set(TARGETS) <= set(names())
    assert main(["targets"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in TARGETS)


@pytest.mark.slow
def test_the_embedded_model_on_the_part_with_an_ethos_u(tmp_path):
    """Minutes: pocket, exact GELU and twelve blocks, and every claim of the documentation."""
    out = tmp_path / "pocket"
    done = python("convert", "build", "--target", "mcu-alif-e8", "--out", out)
    assert done.returncode == 0, done.stderr
    micro = json.loads((out / "report.json").read_text())["micro"]
    assert [stage["agreement"]["different"] for stage in micro["stages"]] == [0] * 5
    assert [stage["vela"]["cpu_operators"] for stage in micro["stages"]] == [0] * 5
    assert micro["arena_bytes"] < load("mcu-alif-e8").arena_kb << 10
    assert micro["gelu"]["form_cosines"][-1] > micro["gelu"]["operator_cosines"][-1] - 0.005
    assert python("convert", "check", out, "--target", "mcu-alif-e8").returncode == 0


@pytest.mark.slow
def test_of_gelus_two_forms_the_chosen_one_is_nearer_to_float(embedded, capsys):
    """The table of docs/microcontrollers.md, with -s: the embedded model's bundle with the operator and with either form."""
    bundle, model = read_bundle(embedded), load_model("pocket", None, None)
    some = [picture for _, picture in itertools.islice(views(ROOT / "models" / "photographs"), 90)]
    images = np.concatenate([image_to_tensor(picture, bundle.manifest.preprocessing) for picture in some])
    exact = float_embeddings(model, images, Silent())
    files = {
        form: write_model(gelu_form.formed(GraphState(read_model(bundle.flatbuffer), {}, {}), form).model)
        for form in gelu_form.FORMS
    }
    cosines = {}
    for name, content in {"operator": bundle.flatbuffer, **files}.items():
        found = replay(cascade_of(content, bundle.manifest), images).embeddings[:, -1]
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
        cosine = (found * exact).sum(1) / norms
        same = (found @ bundle.labels.vectors.T).argmax(1) == (exact @ bundle.labels.vectors.T).argmax(1)
        cosines[name] = float(cosine.mean())
        with capsys.disabled():
            print(f"\n| {name} | {cosine.mean():.4f} | {np.percentile(cosine, 5):.4f} | {same.mean():.1%} |", end="")
    assert cosines[gelu_form.CHOSEN] == max(cosines[form] for form in gelu_form.FORMS)
    assert cosines[gelu_form.CHOSEN] > cosines["operator"] - 0.003


def test_int8_labels_are_the_banks_vectors():
    """Reference: the vectors themselves, to half a step."""
    tiny = tiny_bundle.build()
    bank = tiny_bundle.bank()
    numbers = numbers_of(tiny.flatbuffer, tiny.manifest, bank)
    assert np.abs(numbers.labels * numbers.label_scale - bank.vectors).max() <= 0.5001 * numbers.label_scale
