"""Words that name no class: at the nearest kind above them, leaning towards what a sentence encoder finds like them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from models.recipe.placing import LEAN, RIDGE, members, nearest, placed, translation
from models.recipe.wordnet import WordNet

TREE = WordNet(
    words={wnid: (wnid,) for wnid in ("thing", "animal", "ungulate", "okapi", "cow", "sheep", "dog", "poodle", "chair")},
    above={
        "animal": ("thing",),
        "ungulate": ("animal",),
        "okapi": ("ungulate",),
        "cow": ("ungulate",),
        "sheep": ("ungulate",),
        "dog": ("animal",),
        "poodle": ("dog",),
        "chair": ("thing",),
        "thing": (),
    },
)
CLASSES = ("cow", "sheep", "poodle", "chair")


def test_a_kind_has_the_classes_below_it():
    found = members(TREE, CLASSES)
    assert found == {
        "cow": [0], "sheep": [1], "poodle": [2], "chair": [3],
        "ungulate": [0, 1], "dog": [2], "animal": [0, 1, 2], "thing": [0, 1, 2, 3],
    }  # fmt: skip


@pytest.mark.parametrize(("word", "kind"), [("okapi", "ungulate"), ("poodle", "poodle"), ("dog", "dog"), ("animal", None)])
def test_a_noun_stands_at_the_nearest_kind_that_is_not_too_wide(word, kind):
    assert nearest(TREE, word, members(TREE, CLASSES), len(CLASSES)) == kind


def test_the_translation_is_scikit_learns_ridge():
    random = torch.Generator().manual_seed(0)
    encoded, vectors = torch.randn(60, 12, generator=random), torch.randn(60, 5, generator=random)
    wanted = Ridge(alpha=RIDGE).fit(encoded.numpy(), vectors.numpy()).predict(encoded.numpy())
    found = translation(encoded, vectors).of(encoded)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-5)


def test_a_word_leans_from_its_kind_to_the_guess_and_without_a_kind_the_guess_stands():
    kinds, guessed = F.normalize(torch.tensor([[1.0, 0, 0], [0, 0, 0]]), dim=1), torch.tensor([[0.0, 1, 0], [0, 0, 1.0]])
    found = placed(kinds, guessed)
    torch.testing.assert_close(found[0], F.normalize(torch.tensor([1 - LEAN, LEAN, 0.0]), dim=0))
    assert torch.equal(found[1], guessed[1])
