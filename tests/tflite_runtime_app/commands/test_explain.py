"""What `classify explain` says is what `classify run` does."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.cli import main
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.inference.stage_views import chance_of, stages_of


def words(*parts):
    return [str(part) for part in parts]


def run_json(bundle, picture, capsys, *more):
    assert main(words(bundle, picture, "--json", *more)) == 0
    return json.loads(capsys.readouterr().out)


def test_it_stops_where_run_stops_and_shows_the_same_labels(bundle_path, picture, capsys):
    answer = run_json(bundle_path, picture, capsys)
    assert main(words("explain", bundle_path, picture, "--top", 5)) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "leaves here" in line]
    assert line.startswith(f"after block {answer['block']} of 6")
    shown = out.splitlines()[out.splitlines().index(line) + 1]
    assert [part.rsplit(" ", 3)[0].strip() for part in re.split(r"\), ", shown)] == [match["label"] for match in answer["top"]]
    assert f"cosine {answer['top'][0]['cosine']:.3f}" in shown


def test_every_stage_is_there_with_its_gate(bundle_path, picture):
    bundle = read_bundle(bundle_path)
    classifier = Classifier(bundle, 1)
    classifier.use(bundle.labels)
    tensor = image_to_tensor(load_image(picture), bundle.manifest.preprocessing)
    views = stages_of(classifier.cascade, classifier.bank, tensor, 2)
    embedding = classifier.cascade.run(tensor, classifier.bank)
    assert [view.block for view in views] == [2, 4, 6]
    assert [view.stopped for view in views].index(True) == embedding.stage
    assert sum(view.stopped for view in views) == 1
    for view, visit in zip(views, embedding.visits, strict=False):
        assert view.score == visit.score
        np.testing.assert_allclose(view.features, visit.features, rtol=1e-6)
        assert view.chance == pytest.approx(chance_of(view.score, bundle.manifest.gates[views.index(view)]))
    assert views[-1].score is None
    assert [view.after for view in views] == [k > embedding.stage for k in range(3)]


def test_the_picture_is_drawn_whole_and_an_old_one_is_not_lost(bundle_path, picture, tmp_path, capsys):
    out = tmp_path / "why.png"
    assert main(words("explain", bundle_path, picture, "--out", out)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    with Image.open(out) as image:
        pixels = np.asarray(image)
    assert pixels.shape[1] == 900
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert main(words("explain", bundle_path, picture, "--out", out)) == 2
    assert "--force" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.tmp"))


def test_a_broken_picture_is_one_line(bundle_path, tmp_path, capsys):
    (tmp_path / "x.png").write_bytes(b"no image")
    assert main(words("explain", bundle_path, tmp_path / "x.png")) == 1
    assert capsys.readouterr().err.count("\n") == 1
