"""What fits a background name better than every label is none of these; names that say what a label says are no background."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.file import BACKGROUND, read_bundle, write_bundle
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes, unit
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.inference.answer import answer
from tflite_runtime_app.inference.background import NEAR, NO_MARGIN, beside, likeness
from tflite_runtime_app.inference.features import score

CLIP = ROOT.parent / "shared" / "data" / "clip-b32" / "names.npz"


def bank(names, vectors) -> LabelBank:
    return LabelBank(unit(np.asarray(vectors, np.float32)), tuple(names), (), "space")


def around(centre, *directions):
    """Unit vectors that share `centre`, as a text tower's do."""
    return unit(np.asarray(directions, np.float32) + np.asarray(centre, np.float32))


def test_near_names_and_equal_words_are_left_out_and_what_all_names_share_counts_for_nothing():
    random = np.random.default_rng(0)
    away = random.normal(size=(300, 200))
    away -= away.mean(0)
    shared = 60 * np.eye(200)[0]
    names = [f"thing {k}" for k in range(300)]
    others = bank(names, around(shared, *away))
    labels = bank(["a dog", "Thing 7"], around(shared, away[3] + 0.3 * away[9], away[50]))
    kept = beside(labels, others)
    assert kept is not None
    assert set(names) - set(kept.names) == {"thing 3", "thing 7", "thing 50"}, "but for a shared direction all names are near"
    assert float((others.vectors @ labels.vectors.T).min()) > NEAR


def test_nothing_is_left_where_the_labels_say_it_all_or_there_is_no_background():
    others = bank(["a", "b"], np.eye(3)[:2])
    assert beside(others, others) is None
    assert beside(others, None) is None


def test_rows_are_compared_in_parts_as_in_one():
    random = np.random.default_rng(1)
    others = bank([f"n{k}" for k in range(700)], random.normal(size=(700, 8)))
    labels = bank(["x", "y"], random.normal(size=(2, 8)))
    centre = others.vectors.mean(0)
    nearest = (unit(others.vectors - centre) @ unit(labels.vectors - centre).T).max(1)
    kept = beside(labels, others)
    assert kept is not None
    assert kept.names == tuple(name for name, near in zip(others.names, nearest, strict=True) if near < NEAR)
    assert 100 < len(kept.names) < 700


def test_names_near_in_meaning_are_near_in_clips_own_space():
    """OpenAI's ViT-B/32: COCO's names as labels, LVIS's as the background."""
    if not CLIP.is_file():
        pytest.skip(f"{CLIP} is not here: the vectors of CLIP are not in the repository")
    known = np.load(CLIP)
    labels = bank(map(str, known["coco_names"]), known["coco"])
    others = bank(map(str, known["lvis_names"]), known["lvis"])
    kept = beside(labels, others)
    assert kept is not None
    assert not {"kitten", "sofa bed", "mug", "doughnut", "laptop computer", "grizzly", "necktie"} & set(kept.names)
    assert {"camel", "guitar", "wolf", "candle", "lion", "helicopter", "crow"} <= set(kept.names)
    assert len(kept.names) > 0.8 * len(others.names)


@pytest.mark.parametrize(("margin", "none"), [(-0.01, True), (0.01, False), (NO_MARGIN, False)])
def test_an_image_is_none_of_the_labels_where_a_background_name_leads_by_more_than_the_margin(margin, none):
    labels, others = bank(["cat", "dog"], np.eye(4)[:2]), bank(["fountain", "bridge"], np.eye(4)[2:])
    vector = np.array([3, 1, 3, 0], np.float32)  # as near to "cat" as to "fountain"
    found = SimpleNamespace(vector=vector, scores=score(vector, labels, 10.0))
    manifest = replace(tiny_bundle.build().manifest, none_margin=margin)
    said = answer(found, labels, manifest, 2, others)
    assert (said.none, said.like) == (none, "fountain" if none else "")
    assert said.top[0].label == "cat"
    assert not answer(found, labels, manifest, 2).none, "without a background nothing is compared"
    best = likeness(vector, others)
    assert best.name == "fountain" and best.cosine == pytest.approx(3 / np.sqrt(19))


def test_an_answer_is_sure_where_it_outweighs_all_others():
    labels = bank(["a", "b", "c"], np.eye(3))
    manifest = tiny_bundle.build().manifest
    for vector, sure in (([1, 0, 0], True), ([1, 1, 0.9], False)):
        value = np.array(vector, np.float32)
        assert answer(SimpleNamespace(vector=value, scores=score(value, labels, 10.0)), labels, manifest, 1).sure is sure


def test_a_bundle_carries_its_background_and_labels_of_ones_own_have_it_too(tmp_path):
    tiny = tiny_bundle.build()
    labels, others = tiny_bundle.bank(), tiny_bundle.bank(tuple(f"thing {k}" for k in range(30)))
    members = {"labels.npz": labels_to_bytes(labels), BACKGROUND: labels_to_bytes(others)}
    path = tmp_path / "with.tflite"
    write_bundle(path, tiny.flatbuffer, replace(tiny.manifest, none_margin=-1.0), members)
    classifier = Classifier(read_bundle(path))
    classifier.use(labels)
    assert classifier.background is not None and len(classifier.background.names) >= 10
    classifier.use(tiny_bundle.bank(("thing 3", "lamp")))
    assert classifier.background is not None and "thing 3" not in classifier.background.names
    members[BACKGROUND] = labels_to_bytes(tiny_bundle.bank(("fountain",), space_id="another"))
    write_bundle(path, tiny.flatbuffer, tiny.manifest, members)
    with pytest.raises(LabelError, match="space another"):
        read_bundle(path)
