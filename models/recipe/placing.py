"""Where words stand in a classifier's space that name none of its classes.

A noun stands at the nearest kind above it of which there are classes: an okapi among the even-toed ungulates. There it leans towards
where a sentence encoder's vector of it would be, by what the words of known things have in the two spaces. A word that WordNet does not
have, or whose kinds say too little, stands where the encoder puts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.recipe.wordnet import WordNet

WIDEST = 0.5  # a kind of more of the classes says too little
LEAN = 0.3  # towards the encoder: of names left out of ImageNet's most are found with that
RIDGE = 1.0


def members(tree: WordNet, classes: Sequence[str]) -> dict[str, list[int]]:
    """By WordNet id, the places of the classes that are it or lie below it; ids without any are left out."""
    found: dict[str, list[int]] = {}
    for place, wnid in enumerate(classes):
        for one in (wnid, *tree.ancestors(wnid)):
            found.setdefault(one, []).append(place)
    return found


def nearest(tree: WordNet, wnid: str, known: Mapping[str, Sequence[int]], classes: int) -> str | None:
    """The id itself or the nearest above it that is `known`, None where that is a kind of more than `WIDEST` of the classes."""
    for one in (wnid, *tree.ancestors(wnid)):
        if one in known:
            return one if len(known[one]) <= WIDEST * classes else None
    return None


@dataclass(frozen=True, slots=True)
class Translation:
    """A linear map from a sentence encoder's vectors [n, D] to a space's [n, E]: `weight` [D, E] between the two `means`."""

    weight: Tensor
    means: tuple[Tensor, Tensor]

    def of(self, encoded: Tensor) -> Tensor:
        """Unit vectors [n, E]."""
        return F.normalize((encoded - self.means[0]) @ self.weight + self.means[1], dim=1)


def translation(encoded: Tensor, vectors: Tensor) -> Translation:
    """Ridge regression of the space's vectors [n, E] on the encoder's [n, D] of the same words."""
    means = (encoded.mean(0), vectors.mean(0))
    x, y = (encoded - means[0]).double(), (vectors - means[1]).double()
    weight = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
    return Translation(weight.float(), means)


def placed(kinds: Tensor, guessed: Tensor) -> Tensor:
    """Unit vectors [n, E] between a word's kind and the encoder's guess; a row of `kinds` that is all zeros leaves the guess alone."""
    known = kinds.norm(dim=1, keepdim=True) > 0
    return F.normalize(torch.where(known, (1 - LEAN) * kinds + LEAN * guessed, guessed), dim=1)
