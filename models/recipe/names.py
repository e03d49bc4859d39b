"""Names of classes and what the text tower makes of them: label vectors to train towards and to score with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from convert.model.labels import VECTORS, read_templates, text_vectors
from convert.model.load import load_model
from convert.support.files import write_atomically
from models.recipe.losses import Kinds
from models.recipe.plan import RecipeError, text_lines
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes, read_labels

FIRST = 0.6  # share of steps in which a class goes by its first name


@dataclass(frozen=True, slots=True)
class Classes:
    """WordNet ids in order and the names of each, the first of which labels it."""

    ids: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]

    @property
    def first(self) -> list[str]:
        """One name a class."""
        return [names[0] for names in self.names]


def read(path: Path) -> Classes:
    """The classes of a file of lines `WNID<tab>name, synonym, …`. Raises RecipeError for a line without a name."""
    ids, names = [], []
    for number, line in enumerate(text_lines(path, "lines of a WordNet id, a tab and names"), 1):
        wnid, _, rest = line.partition("\t")
        found = tuple(name.strip() for name in rest.split(",") if name.strip())
        if not wnid or not found:
            raise RecipeError(f"{path}, line {number}: expected a WordNet id, a tab and names, found {line[:40]!r}")
        ids.append(wnid)
        names.append(found)
    return Classes(tuple(ids), tuple(names))


@dataclass(frozen=True, slots=True)
class Bank:
    """Unit vectors of every name of every class, [all names, E]; `starts` says where each class's begin, one more at the end."""

    vectors: Tensor
    starts: Tensor

    def first(self) -> Tensor:
        """The vectors of the first names, [classes, E]."""
        return self.vectors[self.starts[:-1]]

    def drawn(self, source: Generator) -> Tensor:
        """One name a class, drawn anew: the first one in a share of the cases, any of the class's otherwise."""
        counts = self.starts[1:] - self.starts[:-1]
        any_name = (torch.rand(len(counts), generator=source) * counts).long().clamp(max=counts - 1)
        any_name[torch.rand(len(counts), generator=source) < FIRST] = 0
        return self.vectors[self.starts[:-1] + any_name]


def bank(model: Any, tokenizer: Any, classes: Classes, templates: Sequence[str]) -> Bank:
    """All names of all classes by the model's text tower, each the normalised mean over the templates."""
    flat = [name for names in classes.names for name in names]
    starts = torch.tensor([0, *(len(names) for names in classes.names)]).cumsum(0)
    return Bank(text_vectors(model, tokenizer, flat, templates), starts)


def ready(folder: Path) -> tuple[Classes, Bank]:
    """The labels of a model folder without a text tower, and their vectors. Raises RecipeError for a folder without them."""
    listed, vectors = folder / "labels.txt", folder / VECTORS
    if not listed.is_file() or not vectors.is_file():
        raise RecipeError(f"{folder} has no {listed.name} and {VECTORS}, so --classes has to name what is trained")
    classes, bank = read(listed), read_labels(vectors)
    if len(classes.ids) != len(bank.names):
        raise RecipeError(f"{listed} has {len(classes.ids)} lines, expected {len(bank.names)}, as {VECTORS} has vectors")
    return classes, Bank(torch.from_numpy(bank.vectors).float(), torch.arange(len(classes.ids) + 1))


def keep(folder: Path, texts: Sequence[str], vectors: Tensor) -> None:
    """A model folder's labels.npz has the vectors [n, E] of these names, for its weights and templates."""
    model = load_model(str(folder), None, None, with_heads=False)
    bank = LabelBank(vectors.numpy(), tuple(texts), read_templates(model), model.space_id)
    write_atomically(folder / VECTORS, labels_to_bytes(bank))


def kinds_of(model: Any, tokenizer: Any, classes: Classes, above: Classes, templates: Sequence[str]) -> Kinds:
    """The kinds of every class. Raises RecipeError for a class of which no kind is known."""
    known = dict(zip(above.ids, above.names, strict=True))
    if missing := [wnid for wnid in classes.ids if wnid not in known]:
        raise RecipeError(
            f"no kind is known of {missing[0]} and {len(missing) - 1} more classes; tools/make_hypernyms.py finds them"
        )
    words = sorted({name for wnid in classes.ids for name in known[wnid]})
    place = {word: k for k, word in enumerate(words)}
    shares = torch.zeros(len(classes.ids), len(words))
    for row, wnid in enumerate(classes.ids):
        shares[row, [place[name] for name in known[wnid]]] = 1 / len(known[wnid])
    return Kinds(text_vectors(model, tokenizer, words, templates), shares)
