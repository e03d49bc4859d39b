"""Where a model's background names come from, and the margin by which they win."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convert.calibrate.gates_and_policy import NONE_QUANTILE, Part, none_margin
from convert.model.background import FILE, FURTHER, background_of
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from tests.clone import ROOT
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes, unit
from tflite_runtime_app.exits.replay import Replay, answers
from tflite_runtime_app.inference.background import NO_MARGIN


@pytest.fixture(scope="module")
def pico():
    return load_model("pico", None, ROOT / "models")


def test_a_text_tower_gives_imagenets_thousand_names(pico):
    found = background_of(pico)
    assert set(found.names) == {*open_clip.IMAGENET_CLASSNAMES, *FURTHER} and len(set(found.names)) == len(found.names)
    assert found.vectors.shape == (len(found.names), 256) and found.space_id == pico.space_id
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


def test_what_lies_ready_in_the_folder_goes_first_if_it_is_of_this_space(pico, tmp_path):
    vectors = unit(np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32))
    for space, wanted in ((pico.space_id, ("x", "y", "z")), ("another", None)):
        (tmp_path / FILE).write_bytes(labels_to_bytes(LabelBank(vectors, ("x", "y", "z"), (), space)))
        found = background_of(dataclasses.replace(pico, folder=tmp_path))
        assert (None if found is None else found.names) == wanted


def test_an_image_tower_alone_has_its_classes_or_nothing(pico, tmp_path):
    assert background_of(dataclasses.replace(pico, folder=tmp_path, text=False)) is None
    bank = LabelBank(unit(np.eye(3, 256, dtype=np.float32)), ("x", "y", "z"), (), pico.space_id)
    (tmp_path / "labels.npz").write_bytes(labels_to_bytes(bank))
    found = background_of(dataclasses.replace(pico, folder=tmp_path, text=False))
    assert found is not None and found.names == bank.names


def test_the_margin_turns_away_its_share_of_the_good_answers():
    random = np.random.default_rng(0)
    labels = LabelBank(unit(np.eye(8, 64, dtype=np.float32)), tuple("abcdefgh"), (), "s")
    others = LabelBank(unit(np.eye(56, 64, 8, dtype=np.float32)), tuple(f"n{k}" for k in range(56)), (), "s")
    wanted = random.integers(0, 8, 2000)
    embeddings = (np.eye(8, 64)[wanted] + 0.3 * random.normal(size=(2000, 64))).astype(np.float32)[:, None]
    found = Replay(embeddings, np.zeros((2000, 0), np.float32), np.zeros((2000, 1), np.float32))
    part = Part(found, answers(found, labels, 10.0), wanted, wanted, wanted)
    margin = none_margin(part, np.zeros(2000, np.int64), labels, others)
    cosines = unit(embeddings[:, 0]) @ np.concatenate([labels.vectors, others.vectors]).T
    ahead, good = cosines[:, 8:].max(1) - cosines[:, :8].max(1), cosines[:, :8].argmax(1) == wanted
    assert (ahead > margin)[good].mean() == pytest.approx(NONE_QUANTILE, abs=2e-3)
    assert none_margin(part, np.zeros(2000, np.int64), labels, None) == NO_MARGIN
    assert none_margin(part, np.zeros(2000, np.int64), labels, labels) == NO_MARGIN, "the labels say it all"


def test_where_few_images_show_listed_things_these_alone_say_what_may_be_turned_away():
    """Of 400 images 100 show a label's thing, the others what the background names; nothing is wanted, as in a build on such images."""
    random = np.random.default_rng(0)
    labels = LabelBank(unit(np.eye(8, 64, dtype=np.float32)), tuple("abcdefgh"), (), "s")
    others = LabelBank(unit(np.eye(56, 64, 8, dtype=np.float32)), tuple(f"n{k}" for k in range(56)), (), "s")
    shown = np.where(np.arange(400) < 100, np.arange(400) % 8, -1)
    thing = np.where(shown >= 0, shown, 8 + np.arange(400) % 56)
    embeddings = (np.eye(64)[thing] + 0.1 * random.normal(size=(400, 64))).astype(np.float32)[:, None]
    found, full = Replay(embeddings, np.zeros((400, 0), np.float32), np.zeros((400, 1), np.float32)), np.zeros(400, np.int64)
    said = answers(found, labels, 10.0)
    own = said.top1[:, 0]
    margin = none_margin(Part(found, said, None, own, shown), full, labels, others)
    cosines = unit(embeddings[:, 0]) @ np.concatenate([labels.vectors, others.vectors]).T
    none = cosines[:, 8:].max(1) - cosines[:, :8].max(1) > margin
    assert none[shown < 0].mean() > 0.99 and none[shown >= 0].mean() < 0.04
    assert margin == 0, "all listed things lead by far: what fits a label best is never called something else"
    blind = none_margin(Part(found, said, None, own, np.full(400, -1)), full, labels, others)
    assert blind > margin + 0.3, "without a word of what they show, all answers have to be believed"
