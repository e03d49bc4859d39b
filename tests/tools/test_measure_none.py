"""The area under the ROC curve against scikit-learn's, and a run through a bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.file import BACKGROUND, write_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tools import measure_none


def test_the_area_is_scikit_learns_ties_included_and_its_deviation_that_of_many_draws():
    random = np.random.default_rng(0)
    listed = random.random(400) < 0.4
    scores = np.round(random.normal(size=400) + listed, 1)
    found, _ = measure_none.area(scores, listed)
    assert found == pytest.approx(roc_auc_score(listed, scores), abs=1e-12)
    many = []
    for _ in range(300):
        draw = random.normal(size=200) + (which := random.random(200) < 0.5)
        many.append(measure_none.area(draw, which))
    areas, deviations = np.array(many).T
    assert deviations.mean() == pytest.approx(areas.std(), rel=0.2)


def test_images_are_listed_by_their_folders_ids_and_what_is_turned_away_is_counted(tmp_path, monkeypatch, capsys):
    tiny = tiny_bundle.build()
    members = {
        "labels.npz": labels_to_bytes(tiny_bundle.bank(("cat", "dog"))),
        BACKGROUND: labels_to_bytes(tiny_bundle.bank(tuple(f"thing {k}" for k in range(12)))),
    }
    write_bundle(tmp_path / "b.tflite", tiny.flatbuffer, replace(tiny.manifest, none_margin=-2.0), members)
    (tmp_path / "labels.txt").write_text("n01\tcat\nn02\tdog\n")
    random = np.random.default_rng(0)
    for folder, count in (("n01", 3), ("n02", 2), ("n09", 4)):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for k in range(count):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / folder / f"{k}.png")
    (tmp_path / "images" / "n01" / "broken.png").write_bytes(b"none")
    asked = ["measure_none", str(tmp_path / "b.tflite"), "--labels", str(tmp_path / "labels.txt"), "--images"]
    monkeypatch.setattr("sys.argv", [*asked, str(tmp_path / "images")])
    measure_none.main()
    told = capsys.readouterr().out
    assert "5 images of listed things, 4 of others" in told
    assert "turned away of listed: 100.0%" in told, "by a margin of -2 every image is something else"
    monkeypatch.setattr("sys.argv", [*asked, str(tmp_path / "images" / "n09")])
    with pytest.raises(SystemExit) as ended:
        measure_none.main()
    assert ended.value.code == 2
