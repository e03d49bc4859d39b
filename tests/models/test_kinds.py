"""Vectors of kinds of thing: against scikit-learn, against the classes' own softmax, and on the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from models.recipe.kinds import RIDGE, Schedule, Teaching, distilled, least_squares, on_sphere

KINDS = ([0, 1, 2, 3, 4, 5], [6, 7], [8])  # of twelve classes, the last three of no kind
SCALE = 20.0


@pytest.fixture(scope="module")
def teaching() -> Teaching:
    """Twelve classes, those of a kind near one another, and pictures of all; embeddings end in 0 and label vectors make up for it."""
    random = torch.Generator().manual_seed(0)
    centre = torch.randn(12, 15, generator=random)
    for members in KINDS[:2]:
        centre[members] = 0.8 * centre[members[0]] + 0.6 * centre[members]
    classes, _ = on_sphere(torch.cat([0.25 * centre, torch.zeros(12, 1)], 1))
    shown = torch.arange(1200) % 12
    e = torch.cat([centre[shown] + 0.6 * torch.randn(1200, 15, generator=random), torch.zeros(1200, 1)], 1)
    return Teaching(F.normalize(e, dim=1), classes, SCALE)


def agreement(teaching: Teaching, vectors: torch.Tensor) -> float:
    """The share of pictures whose best kind, or class of no kind, is the one that the classes' softmax gives most."""
    shares = teaching.logits(teaching.embeddings).softmax(1)
    wanted = torch.cat([torch.stack([shares[:, members].sum(1) for members in KINDS], 1), shares[:, 9:]], 1)
    found = teaching.embeddings @ torch.cat([vectors, teaching.classes[9:]]).T
    return float((found.argmax(1) == wanted.argmax(1)).float().mean())


def test_least_squares_is_scikit_learns_ridge_of_the_log_sums(teaching):
    found = least_squares(teaching, KINDS)
    logits = teaching.logits(teaching.embeddings)
    for number, members in enumerate(KINDS[:2]):
        wanted = Ridge(alpha=RIDGE, fit_intercept=False).fit(
            teaching.embeddings.numpy(), torch.logsumexp(logits[:, members], 1).numpy()
        )
        np.testing.assert_allclose(SCALE * found[number], wanted.coef_, atol=1e-4)
    assert torch.equal(found[2], teaching.classes[8]), "a kind of one class is that class"
    with pytest.raises(ValueError, match="kind 1 has no class"):
        least_squares(teaching, ([0], []))


def test_a_kind_is_found_where_the_mean_of_its_classes_is_beaten_by_each_of_them(teaching):
    mean = torch.stack([teaching.classes[members].mean(0) for members in KINDS])
    fitted, taught = least_squares(teaching, KINDS), distilled(teaching, KINDS, Schedule(steps=300, batch=256))
    assert agreement(teaching, taught) >= agreement(teaching, fitted) > agreement(teaching, mean)
    assert agreement(teaching, taught) > 0.97
    assert torch.equal(taught, distilled(teaching, KINDS, Schedule(steps=300, batch=256))), "the same seed, the same vectors"


def test_on_the_sphere_nothing_is_ordered_otherwise_and_logits_stay(teaching):
    vectors = torch.cat([least_squares(teaching, KINDS), teaching.classes[9:]])
    found, longer = on_sphere(vectors)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))
    assert longer == pytest.approx(float(vectors[:, :-1].norm(dim=1).max()))
    torch.testing.assert_close(longer * teaching.embeddings @ found.T, teaching.embeddings @ vectors.T, atol=1e-5, rtol=1e-4)
