"""What the text tower of a classifier's space is taught: where the names of its classes stand, those of kinds, and all other words.

The words of a class stand at its vector; a word of several classes, and a kind, at a vector fitted to the log sum of theirs; names at the
level that people name things beside one another (`kinds.distilled`), with pictures of what no class is; other nouns by WordNet and a
sentence encoder (`placing`). All of them share one sphere, so that a text tower can give them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.recipe import placing
from models.recipe.kinds import Schedule, Teaching, distilled, least_squares, on_sphere
from models.recipe.names import Classes
from models.recipe.wordnet import WordNet
from tflite_runtime_app.text.label_list import LabelList

SENSES = 2  # of a word that are looked at, the most frequent first


@dataclass(frozen=True, slots=True)
class Known:
    """What the fit rests on: the classes, WordNet, names as people use them with their ids, and what pictures look like.

    `teaching` holds the pictures' embeddings and the classes' vectors, in the order of `classes`; `ids` [n] says what is on each picture:
    a WordNet id, or one of the list's own.
    """

    classes: Classes
    tree: WordNet
    everyday: LabelList
    teaching: Teaching
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Texts and their unit vectors [n, E], and by how much the logits' scale grows in their space.

    The first `sure` of the texts are names of classes and everyday names, which must not be missed; the others are nouns.
    """

    texts: tuple[str, ...]
    vectors: Tensor
    sure: int
    longer: float


def lexicon(known: Known, nouns: Sequence[str], encoded: Tensor, names: Tensor, plan: Schedule | None = None) -> Lexicon:
    """Of the classes' words, the everyday names and the `nouns`.

    `encoded` [nouns, D] and `names` [classes, D] are a sentence encoder's vectors of the nouns and of the classes' first names.
    """
    fitted = everyday(known, plan)
    taken = dict(zip(known.everyday.names, fitted, strict=True))
    for text, vector in _words_of_classes(known).items():
        taken.setdefault(text, vector)
    rest = [k for k, noun in enumerate(nouns) if noun not in taken]
    placed = _placed(known, [nouns[k] for k in rest], encoded[rest], names)
    vectors, longer = on_sphere(torch.cat([torch.stack(list(taken.values())), placed]))
    return Lexicon((*taken, *(nouns[k] for k in rest)), vectors, len(taken), longer)


def owners(tree: WordNet, listed: Mapping[str, int], ids: Sequence[str]) -> list[int]:
    """For each id the listed name that it goes by: its own, else that of the nearest id above it; -1 where there is none."""
    found = {}
    for wnid in set(ids):
        line = (wnid, *tree.ancestors(wnid)) if wnid in tree.words else (wnid,)
        found[wnid] = next((listed[one] for one in line if one in listed), -1)
    return [found[wnid] for wnid in ids]


def everyday(known: Known, plan: Schedule | None = None) -> Tensor:
    """Vectors [names, E], of any length, of the everyday names beside one another; raises ValueError for one without class or picture."""
    place, count = known.everyday.place, len(known.everyday.names)
    of_class = owners(known.tree, place, known.classes.ids)
    kinds = [[c for c, owner in enumerate(of_class) if owner == name] for name in range(count)]
    shown = torch.tensor(owners(known.tree, place, known.ids))
    return distilled(known.teaching, kinds, plan, shown=shown)


def _words_of_classes(known: Known) -> dict[str, Tensor]:
    """Vectors of all words of the classes; first names first, which no other class's word takes away."""
    classes = known.teaching.classes
    found = {names[0]: classes[row] for row, names in enumerate(known.classes.names)}
    of: dict[str, list[int]] = {}
    for row, (wnid, names) in enumerate(zip(known.classes.ids, known.classes.names, strict=True)):
        for word in (*names, *known.tree.words.get(wnid, ())):
            if word not in found and row not in of.setdefault(word, []):
                of[word].append(row)
    return found | dict(zip(of, least_squares(known.teaching, list(of.values())), strict=True)) if of else found


def _placed(known: Known, nouns: Sequence[str], encoded: Tensor, names: Tensor) -> Tensor:
    """Vectors [nouns, E] as long as a class's are on average."""
    classes, tree = known.teaching.classes, known.tree
    heard = torch.cat([classes[:, :-1], torch.zeros(len(classes), 1)], 1)
    members = placing.members(tree, known.classes.ids)
    standing = [_kind(tree, noun, members, len(classes)) for noun in nouns]
    used = sorted({kind for kind in standing if kind is not None})
    fitted = least_squares(known.teaching, [members[kind] for kind in used])
    at = {kind: row for row, kind in enumerate(used)}
    fitted = F.normalize(torch.cat([fitted[:, :-1], torch.zeros(len(used), 1)], 1), dim=1)
    nowhere = torch.zeros(heard.shape[1])
    kinds = torch.stack([nowhere if kind is None else fitted[at[kind]] for kind in standing])
    guessed = placing.translation(names, heard).of(encoded)
    placed: Tensor = heard.norm(dim=1).mean() * placing.placed(kinds, guessed)
    return placed


def _kind(tree: WordNet, noun: str, members: Mapping[str, Sequence[int]], classes: int) -> str | None:
    """Where the most frequent of a word's first senses that stands anywhere does; None for a word that WordNet lacks."""
    for sense in tree.senses.get(noun.casefold(), ())[:SENSES]:
        if (found := placing.nearest(tree, sense, members, classes)) is not None:
            return found
    return None
