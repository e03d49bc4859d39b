"""Where texts stand in a classifier's space: its classes' words at their vectors, everyday names by pictures, other nouns by WordNet."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from models.recipe.kinds import Schedule, Teaching, on_sphere
from models.recipe.lexicon import Known, Lexicon, everyday, lexicon, owners
from models.recipe.names import Classes
from models.recipe.photographs import right_names, share_right
from models.recipe.vocabulary import of_classifier
from models.recipe.wordnet import WordNet
from tests.models.test_placing import TREE
from tflite_runtime_app.text.label_list import LabelList

SIZE, SCALE, EACH = 33, 20.0, 60
CLASSES = Classes(
    ("cow", "sheep", "poodle", "chair"), (("cow", "kine"), ("sheep", "ram"), ("poodle", "ram"), ("chair", "garden seat"))
)
EVERYDAY = LabelList(("livestock", "dog", "seat", "person"), ("ungulate", "dog", "chair", "x_person"))
PLAN = Schedule(steps=200, batch=256, rate=5e-3)


@pytest.fixture(scope="module")
def known() -> Known:
    """Pictures of four classes and of people, which no class is; WordNet's words are the ids themselves."""
    random = torch.Generator().manual_seed(0)
    centres = torch.linalg.qr(torch.randn(SIZE - 1, 5, generator=random)).Q.T.contiguous()
    centres[1] = 0.8 * centres[0] + 0.6 * centres[1]
    vectors, _ = on_sphere(torch.cat([centres[:4], torch.zeros(4, 1)], 1))
    shown = torch.arange(5 * EACH) % 5
    e = torch.cat([centres[shown] + 0.06 * torch.randn(len(shown), SIZE - 1, generator=random), torch.zeros(len(shown), 1)], 1)
    tree = dataclasses.replace(TREE, senses={word: (word,) for word in TREE.words})
    ids = [(*CLASSES.ids, "x_person")[k] for k in shown.tolist()]
    return Known(CLASSES, tree, EVERYDAY, Teaching(F.normalize(e, dim=1), vectors, SCALE), ids)


@pytest.fixture(scope="module")
def made(known: Known) -> Lexicon:
    random = torch.Generator().manual_seed(1)
    return lexicon(
        known, ("okapi", "dog", "freedom"), torch.randn(3, 6, generator=random), torch.randn(4, 6, generator=random), PLAN
    )


def vector(made: Lexicon, text: str) -> torch.Tensor:
    """As long as it is in the classifier's own space, its last number left out."""
    return made.longer * made.vectors[made.texts.index(text), :-1]


def test_a_thing_goes_by_its_own_name_or_by_the_nearest_above_it():
    assert owners(TREE, {"animal": 0, "dog": 1, "x_sky": 2}, ("poodle", "cow", "chair", "x_sky", "x_other")) == [1, 0, -1, 2, -1]


def test_everyday_names_are_told_apart_those_without_a_class_by_pictures_of_them(known):
    vectors = everyday(known, PLAN)
    answers = (known.teaching.embeddings @ vectors.T).argmax(1)
    right = torch.tensor(owners(known.tree, EVERYDAY.place, known.ids))
    assert (answers == right).float().mean() > 0.95
    assert torch.equal(vectors[2], known.teaching.classes[3]), "the seat is the one class chair"
    nowhere = LabelList((*EVERYDAY.names, "ghost"), (*EVERYDAY.ids, "x_ghost"))
    with pytest.raises(ValueError, match="kind 4 has no class and no picture"):
        everyday(dataclasses.replace(known, everyday=nowhere), PLAN)


def test_the_words_of_a_class_stand_at_its_vector_and_a_shared_one_at_both(known, made):
    for text, row in (("cow", 0), ("kine", 0), ("poodle", 2), ("garden seat", 3), ("seat", 3)):
        torch.testing.assert_close(vector(made, text), known.teaching.classes[row, :-1], atol=1e-5, rtol=1e-4)
    heard = (known.teaching.embeddings[:, :-1] @ vector(made, "ram")).view(-1, 5).mean(0)
    assert min(heard[1], heard[2]) > max(heard[3], heard[4]), "a ram is a sheep or a poodle here"


def test_all_texts_share_a_sphere_and_are_told_apart_as_by_the_classifier(known, made):
    torch.testing.assert_close(made.vectors.norm(dim=1), torch.ones(len(made.texts)))
    assert len(set(made.texts)) == len(made.texts)
    assert made.texts.index("dog") < made.sure <= made.texts.index("okapi"), "an everyday name is no mere noun"
    rows = [made.texts.index(names[0]) for names in CLASSES.names]
    torch.testing.assert_close(
        made.longer * known.teaching.embeddings @ made.vectors[rows].T, known.teaching.embeddings @ known.teaching.classes.T,
        atol=1e-4, rtol=1e-3,
    )  # fmt: skip


def test_other_nouns_stand_nearer_to_their_kind_than_to_other_things(made):
    okapi = F.normalize(vector(made, "okapi"), dim=0)
    near = {text: float(okapi @ F.normalize(vector(made, text), dim=0)) for text in ("livestock", "chair", "person")}
    assert max(near, key=near.__getitem__) == "livestock"


def test_a_text_tower_is_judged_by_nouns_alone_and_never_by_names_that_must_not_be_missed(known, tmp_path, monkeypatch):
    nouns = ["dog", "okapi", *(f"thing {k}" for k in range(30))]
    (tmp_path / "nouns.txt").write_text("\n".join(nouns))
    random = torch.Generator().manual_seed(2)
    monkeypatch.setattr("models.recipe.words.encoded", lambda words, _: torch.randn(len(words), 6, generator=random))
    found = of_classifier(known, tmp_path / "nouns.txt", tmp_path)
    assert 0 < len(found.unseen) <= len(nouns) / 4
    assert set(found.unseen) <= set(nouns) - {"dog"}
    assert not set(found.unseen) & set(found.examples.texts)
    assert set(found.examples.texts[: found.examples.often]) >= {"dog", "person", "ram", "kine"}
    assert found.longer >= 1


def test_a_word_with_several_senses_stands_at_the_first_that_stands_anywhere():
    tree = WordNet(TREE.words, TREE.above, {"buck": ("thing", "okapi", "chair")})
    from models.recipe.lexicon import _kind
    from models.recipe.placing import members

    known = members(tree, CLASSES.ids)
    assert _kind(tree, "Buck", known, 4) == "ungulate"
    assert _kind(tree, "freedom", known, 4) is None


def test_a_name_above_or_below_the_image_is_right_and_another_of_the_same_kind_is_not():
    listed = LabelList(("animal", "poodle", "sheep", "sky"), ("animal", "poodle", "sheep", "x_sky"))
    assert right_names(TREE, listed, "dog") == {0, 1}
    assert right_names(TREE, listed, "poodle") == {0, 1}
    assert right_names(TREE, listed, "cow") == {0}
    assert right_names(TREE, listed, "chair") == frozenset()
    assert right_names(TREE, listed, "x_sky") == {3}
    found = share_right(torch.eye(4)[[0, 2, 3, 3]], [right_names(TREE, listed, one) for one in ("cow", "dog", "chair", "x_sky")])
    assert (found.right, found.of) == (2, 3), "no name of the list is right for a chair, so it is left aside"
