"""What a build will weigh is known from shapes alone, near to real files; and what cannot fit is refused before anything is converted."""

from dataclasses import replace
from pathlib import Path

import pytest

from convert.board.estimate import misses, open_clip_shapes, shape_of
from convert.board.footprint import measure
from convert.board.work import work
from convert.cli import main
from convert.model.load import load_model
from convert.stages.cut import default_exits
from targets import profile as boards
from targets.memory import EXTRAS, IMPORTS, Shape, file_bytes, flatbuffer_bytes, peak_bytes
from targets.profile import load
from tests.convert import model_folder
from tests.convert.small import tower_of, vit
from tflite_runtime_app.bundle.file import read_bundle


@pytest.fixture(scope="module")
def shapes() -> dict[str, Shape]:
    return dict(open_clip_shapes())


def test_the_estimate_is_near_the_embedded_models_file_and_memory(embedded):
    bundle = read_bundle(embedded)
    shape = shape_of(load_model("pocket", None, None).tower(), len(bundle.manifest.stages))
    assert flatbuffer_bytes(shape) == pytest.approx(len(bundle.flatbuffer), rel=0.005)
    assert file_bytes(shape) == pytest.approx(embedded.stat().st_size, rel=0.01)
    growth = peak_bytes(shape) - IMPORTS
    assert growth == pytest.approx(measure(embedded).growth_bytes, rel=0.1), "what the file adds to the libraries, which differ"


def test_the_estimate_is_near_a_small_models_file(plain_two_term):
    """Of a file this small a tenth is the graph, not weights."""
    shape = shape_of(tower_of(plain_two_term.visual), len(plain_two_term.stages))
    assert flatbuffer_bytes(shape) == pytest.approx(len(plain_two_term.integer_file), rel=0.12)


def test_softmax_and_norms_are_counted_as_plain_work(plain_two_term):
    found = work(plain_two_term.integer_file)["stage_0"]
    heads, tokens = 4, 16 + 1
    assert found.plain["SOFTMAX"] == heads * tokens * tokens, "one block, one attention map a head"
    assert found.plain_cycles > 10 * found.plain["SOFTMAX"] - 1
    assert found.islands > 1


def test_a_shape_counts_every_weight_of_a_tower():
    """Reference: the parameters that open_clip's own module counts."""
    visual = vit(image_size=(24, 40))
    shape = shape_of(tower_of(visual), 3)
    matrices = sum(p.numel() for name, p in visual.named_parameters() if p.ndim > 1)
    assert shape.weights == matrices + shape.width**2, "and the product behind ln_pre that the rotation makes"
    assert (shape.tokens, shape.image_px, shape.heads) == (16, 40, 4)
    assert shape.macs == tower_of(visual).block_macs() * 3 + shape.tokens * shape.width * shape.patch


def test_open_clips_configurations_give_the_shapes_of_its_towers(shapes):
    visual = vit(image_size=224, patch_size=32, width=768, layers=12, heads=12, output_dim=512)
    assert shapes["ViT-B-32"] == shape_of(tower_of(visual), shapes["ViT-B-32"].stages)
    assert not [name for name in shapes if name.startswith(("RN", "convnext", "coca", "mammut", "roberta"))], (
        "what cannot be converted is not proposed"
    )


def test_what_is_known_to_run_fits_and_what_is_too_large_does_not(shapes):
    assert misses(shapes["ViT-B-32"], load("rpi")) == ()
    missed = misses(shapes["ViT-L-14"], load("rpi"))
    assert len(missed) == 2
    assert missed[0] == "a file of about 294 MB, at most 128"
    assert missed[1].startswith("peak memory of about ")
    assert misses(shapes["ViT-L-14"], load("host")) == ()
    assert misses(replace(shapes["ViT-B-32"], image_px=448), load("rpi")) == ("images of 448 pixels, at most 384",)


def test_the_estimates_grow_with_the_tower(shapes):
    base = shapes["ViT-B-32"]
    for larger in (replace(base, blocks=13), replace(base, width=1024), replace(base, tokens=577), replace(base, hidden=4096)):
        assert file_bytes(larger) > file_bytes(base)
        assert peak_bytes(larger) > peak_bytes(base)
    assert file_bytes(base) > base.weights + EXTRAS


WIDE = {"image_size": 32, "patch_size": 8, "width": 256, "layers": 2, "head_width": 64}


@pytest.fixture
def little(tmp_path, monkeypatch) -> Path:
    """A folder of boards: the usual ones, and one that holds a megabyte."""
    folder = tmp_path / "boards"
    folder.mkdir()
    for path in boards.FOLDER.glob("*.toml"):
        (folder / path.name).write_text(path.read_text("utf-8"))
    source = '[sources]\nmodel_mb = "a test"\n'
    (folder / "little.toml").write_text(f'base = "rpi"\ntitle = "little"\nmodel_mb = 1\n{source}')
    monkeypatch.setattr(boards, "FOLDER", folder)
    return folder


@pytest.fixture
def conversions(monkeypatch) -> list[str]:
    """Every conversion that was begun; it is interrupted at once."""
    begun: list[str] = []

    def begin(name: str):
        begun.append(name)
        raise KeyboardInterrupt

    for name in ("build_bundle", "build_text"):
        monkeypatch.setattr(f"convert.commands.build.{name}", lambda *_, name=name: begin(name))
    return begun


def build(model: Path, target: str, *more: str) -> int:
    return main(["build", "--model", str(model), "--target", target, "--with-text", *more])


def test_what_cannot_fit_is_refused_before_a_conversion_begins(tmp_path, monkeypatch, capsys, little, conversions):
    monkeypatch.chdir(tmp_path)
    model = model_folder.write(tmp_path / "wide", vision=WIDE)
    assert build(model, "little") == 3
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("convert: wide does not fit little: a file of about 2 MB, at most 1; ")
    assert told.endswith("this model would fit --target rpi"), "the smallest board that holds it"
    assert conversions == []
    assert not list(tmp_path.glob("*.tflite"))


def test_what_fits_is_converted(tmp_path, monkeypatch, little, conversions):
    """The same board, a smaller model: the refusal is not for everyone."""
    monkeypatch.chdir(tmp_path)
    assert build(model_folder.write(tmp_path / "small"), "little") == 130
    assert conversions == ["build_text"]


def test_a_picture_too_large_and_a_smaller_model_are_named(shapes, tmp_path, monkeypatch, capsys, conversions):
    monkeypatch.chdir(tmp_path)
    large = {"image_size": 448, "patch_size": 64, "width": 64, "layers": 2, "head_width": 16}
    assert build(model_folder.write(tmp_path / "large", vision=large), "rpi") == 3
    told = capsys.readouterr().err
    assert "images of 448 pixels, at most 384" in told
    proposed = told.split("--model ")[1].split()[0]
    assert misses(shapes[proposed], load("rpi")) == ()
    assert "would fit --target host" in told
    assert conversions == []


def test_a_boards_own_exits_are_taken_unless_others_are_asked_for(tmp_path, monkeypatch, little, capsys):
    (little / "early.toml").write_text('base = "rpi"\nexits = [0.34]\n[sources]\nexits = "a test"\n')
    monkeypatch.chdir(tmp_path)
    taken = []

    def stop(request, progress):
        taken.append(request.exits)
        raise KeyboardInterrupt

    monkeypatch.setattr("convert.commands.build.build_bundle", stop)
    model = model_folder.write(tmp_path / "small")
    for more in (("--target", "early"), ("--target", "early", "--exits", "2"), ("--target", "rpi")):
        assert main(["build", "--model", str(model), *more]) == 130
    assert taken == [(1,), (2,), default_exits(3)]
