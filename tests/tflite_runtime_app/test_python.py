"""The package as a library: docs/python.md runs, what it names is there, and importing the package costs nothing."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tflite_runtime_app
from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app import Classifier, Frame, LabelSource, SourceError, open_bundle

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def classifier(bundle_path) -> Classifier:
    bundle = open_bundle(bundle_path)
    found = Classifier(bundle, full_depth=True)
    found.use(LabelSource(bundle).read())
    return found


def probabilities(classifier: Classifier, frame: Frame) -> dict[str, float]:
    return {match.label: match.probability for match in classifier.classify(frame).answer.top}


def test_the_page_runs_from_top_to_bottom(tmp_path, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny_bundle.write(tmp_path / "pocket-rpi.tflite", tiny, tiny_bundle.bank())
    Image.new("RGB", (30, 20), "red").save(tmp_path / "photo.jpg")
    space: dict[str, object] = {}
    assert len(BLOCKS) > 5
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), space)
    said = capsys.readouterr().out.splitlines()
    assert said[0] in tiny_bundle.bank().names
    assert said[1].startswith("photo.jpg 0.")
    assert [line.split()[0] for line in said if line.endswith(" ms")] == ["0", "1", "2"]
    assert said[-1].startswith("absent.tflite: no such file")


def test_the_pages_fields_are_a_results_own():
    table = PAGE.partition("## What a result holds")[2].partition("## Errors")[0]
    first_column = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    named = {word.partition(".")[0] for word in re.findall(r"`([a-z_.]+)`", first_column)}
    assert named == set(tflite_runtime_app.Result.__dataclass_fields__)


def test_a_path_an_image_and_an_array_are_one_picture(classifier, picture):
    with Image.open(picture) as image:
        array = np.asarray(image)
        found = [probabilities(classifier, Frame.of(one)) for one in (picture, str(picture), image, array)]
    assert found == [found[0]] * 4
    assert probabilities(classifier, Frame.of(array[..., ::-1])) != found[0]


def test_grey_is_the_same_as_three_equal_channels(classifier):
    grey = np.random.default_rng(3).integers(0, 256, (20, 30), np.uint8)
    assert probabilities(classifier, Frame.of(grey)) == probabilities(classifier, Frame.of(np.stack([grey] * 3, 2)))


def test_an_array_may_be_written_over_once_it_is_a_frame(classifier):
    for shape in ((20, 30, 3), (20, 30)):
        array = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
        before, frame = probabilities(classifier, Frame.of(array)), Frame.of(array)
        array[:] = 0
        assert probabilities(classifier, frame) == before


def test_a_frame_says_where_it_is_from(picture):
    assert Frame.of(picture).source == str(picture)
    assert Frame.of(Image.new("L", (1, 1))).source == "image"
    frame = Frame.of(np.zeros((1, 1), np.uint8), "my camera", 7, 1e9)
    assert (frame.source, frame.index, frame.taken) == ("my camera", 7, 1e9)


@pytest.mark.parametrize(
    ("image", "kind", "words"),
    [
        (None, TypeError, "Pillow image, a numpy array or a path, found NoneType"),
        (b"\xff\xd8", TypeError, "found bytes"),
        ([[1, 2], [3, 4]], TypeError, "found list"),
        (np.zeros((4, 4, 3)), TypeError, "uint8, 0 to 255, found float64"),
        (np.zeros((4, 4, 4), np.uint8), SourceError, r"found \[4, 4, 4\]"),
        (np.zeros((3, 4, 5), np.uint8), SourceError, r"found \[3, 4, 5\]"),
        (np.zeros((0, 4, 3), np.uint8), SourceError, r"found \[0, 4, 3\]"),
        (np.zeros(12, np.uint8), SourceError, r"found \[12\]"),
    ],
)
def test_anything_else_is_refused_in_one_line(image, kind, words):
    with pytest.raises(kind, match=words) as refusal:
        Frame.of(image, source="my camera")
    assert str(refusal.value).startswith("my camera: ")
    assert "\n" not in str(refusal.value)


def test_an_image_that_does_not_decode_is_a_source_error(classifier, picture):
    picture.write_bytes(picture.read_bytes()[:-200])
    with Image.open(picture) as image, pytest.raises(SourceError, match="my camera: expected"):
        classifier.classify(Frame.of(image, "my camera"))


def test_labels_come_before_frames(bundle_path, picture):
    with pytest.raises(RuntimeError, match=r"use\("):
        Classifier(open_bundle(bundle_path)).classify(Frame.of(picture))


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(tflite_runtime_app, name) for name in tflite_runtime_app.__all__)
    assert set(tflite_runtime_app.__all__) <= set(dir(tflite_runtime_app))
    with pytest.raises(AttributeError, match="no attribute 'Classifer'"):
        _ = tflite_runtime_app.Classifer
    with pytest.raises(ImportError):
        exec("from tflite_runtime_app import Classifer")


def test_importing_the_package_loads_no_library():
    program = (
        "import sys, tflite_runtime_app as p; print(p.__version__, *({'numpy', 'PIL', 'ai_edge_litert'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == [tflite_runtime_app.__version__]


def test_a_type_checker_knows_every_public_name_and_no_other(tmp_path):
    names = ", ".join(name for name in tflite_runtime_app.__all__ if name != "__version__")
    program = tmp_path / "program.py"
    program.write_text(
        f"from tflite_runtime_app import {names}\n{BLOCKS[0]}\n"
        "reveal_type(bundle)\nreveal_type(classifier.classify(Frame.of('x')).answer.top[0].label)\n"
        "from tflite_runtime_app import Classifer\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout
    (error,) = [line for line in said.splitlines() if ": error:" in line]
    assert 'has no attribute "Classifer"' in error
    revealed = re.findall(r'Revealed type is "(.*?)"', said)
    assert [kind.rpartition(".")[2] for kind in revealed] == ["Bundle", "str"]
