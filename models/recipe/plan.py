"""What is trained and how, read from a model's `recipe.toml`: the towers, where they start, and the phases of the training."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text.text_lines import read_lines

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI CLIP's, which open_clip's models share
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
START = "start"  # the name of the weights a recipe starts from, beside its phases' names


class RecipeError(Exception):
    """A recipe that cannot be carried out; the message says in one line what was expected and what was found."""


def text_lines(path: Path, what: str) -> list[str]:
    """The lines of a small text file, in the encodings of label files. Raises RecipeError for one that holds no text."""
    try:
        return read_lines(path, what)[0]
    except LabelError as error:
        raise RecipeError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Teacher:
    """An open_clip folder that is learned from, its images `image_size` wide (its position table is stretched to that)."""

    folder: str
    image_size: int = 0  # 0: its own


@dataclass(frozen=True, slots=True)
class Phase:
    """One run of the cosine schedule over `samples` images.

    `rate` is the peak of AdamW's learning rate for the last block; every block before it has `layer_decay` times the next one's. With
    `relative`, parameters that start smaller than weights usually are move by as much less (Adafactor's scale, arXiv 1804.04235): a tower
    cut out of another has its layer scales folded into writers of a hundredth, which AdamW's equal steps would wipe out. `exits` are the
    weights of the losses of exits by blocks done; half of each asks for the right name, half for the answer of the last block
    (self-distillation). An exit is read by SSA or, with `readers`, by a linear layer of its own over the mean patch token and the class
    token, which is thrown away in the end. Without `names` the teacher's answer stands for the right name, and images need none.
    Parameters of the tower that start with a word of `fixed`, and `logit_scale` where it is one, stay as they are. `sheets` is the share
    of steps whose images come from sheets, where there are others besides. `names`, `answers`, `embedding`, `tokens` weigh the right
    name, the teacher's distribution over the labels, its embedding (1 - cosine) and its patch tokens behind the last norm (1 - cosine
    after a linear map); `kinds` weighs the names of the kinds of thing that a class is ("fish, animal"), so that words never trained as
    labels find their place. `noise` is the deviation of the noise put on the residual stream behind every block, relative to each token's
    root mean square: what int8 will do. `outliers` weighs the logarithm of the strongest channel's share of the stream's power. `drop` is
    the share of a batch that passes by each branch (stochastic depth); `mix` the share of batches whose images are mixed in pairs.
    `image_size` is the side of the images in this phase, 0 for the model's own: training on smaller ones than are looked at later costs
    less and loses little (FixRes, arXiv 1906.06423). `average` is the decay of the weights' running average, which is what counts at the
    end.
    """

    name: str
    samples: int
    rate: float
    batch: int = 128
    layer_decay: float = 0.8
    weight_decay: float = 0.05
    warm_up: int = 80
    exits: Mapping[int, float] = field(default_factory=dict)
    names: float = 1.0
    answers: float = 0.0
    embedding: float = 0.0
    tokens: float = 0.0
    kinds: float = 0.0
    noise: float = 0.0
    outliers: float = 0.0
    drop: float = 0.0
    mix: float = 0.0
    smallest_crop: float = 0.35
    average: float = 0.998
    relative: bool = False
    readers: bool = False
    fixed: tuple[str, ...] = ()
    sheets: float = 0.5
    image_size: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """How the text tower is distilled: over so many texts, AdamW's peak rate, and the batch that is told apart.

    `tokens` times that rate is the token table's: a row of it is seen in few batches, and a tower that starts from nothing learns words
    several times as fast with ten. `share` of every batch are names that must not be missed.
    `names`: where the start is a classifier, the file of the names that people use, lines of ids, a tab and a name.
    """

    samples: int
    names: str = ""
    rate: float = 1e-3
    batch: int = 256
    tokens: float = 1.0
    share: float = 0.25


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model: its open_clip configuration, the mean and deviation of its pixels, the side at which training images that are no sheets
    are stored, which of these are kept from training (each `held`th of a source, from the first; 0: none), the folder whose blocks it
    starts from, its teacher, the phases in order, the shares that what they ended with has in the model (`end`, "start" among them;
    without it the last one's alone), and what the text tower goes through behind them.
    """

    name: str
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    embed_dim: int
    quick_gelu: bool
    start: str
    phases: tuple[Phase, ...]
    teacher: Teacher | None = None
    words: Words | None = None
    end: Mapping[str, float] = field(default_factory=dict)
    mean: tuple[float, ...] = CLIP_MEAN
    deviation: tuple[float, ...] = CLIP_DEVIATION
    stored: int = 64
    held: int = 0
    seed: int = 0

    @property
    def side(self) -> int:
        """Of the model's images."""
        return int(self.vision["image_size"])

    def configuration(self, side: int = 0) -> dict[str, Any]:
        """open_clip's model_cfg, for images of another side where one is given."""
        named = {"quick_gelu": True} if self.quick_gelu else {}
        vision = {**self.vision, "image_size": side or self.side}
        return {"embed_dim": self.embed_dim, **named, "vision_cfg": vision, "text_cfg": dict(self.text)}


def read(path: Path) -> Recipe:
    """The recipe in a TOML file. Raises RecipeError for a key that is unknown or missing."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}") from error
    listed = table.pop("phase", [])
    if not isinstance(listed, list) or not listed:
        raise RecipeError(f"{path} names no [[phase]], so there is nothing to train")
    phases = tuple(_made(Phase, _phase(phase), path) for phase in listed)
    for key, kind in (("teacher", Teacher), ("words", Words)):
        table[key] = _made(kind, table[key], path) if key in table else None
    known: Recipe = _made(Recipe, {**table, "phases": phases}, path)
    if known.teacher is None and (lost := [phase.name for phase in phases if not phase.names]):
        raise RecipeError(f"{path}: phase {lost[0]} asks for no names, so it needs a [teacher]")
    there = [START, *(phase.name for phase in phases)]
    if unknown := sorted(set(known.end) - set(there)):
        raise RecipeError(f"{path}: end names {unknown[0]}, expected of {', '.join(there)}")
    if known.end and abs(sum(known.end.values()) - 1) > 1e-6:
        raise RecipeError(f"{path}: the shares of end sum to {sum(known.end.values()):g}, expected 1")
    return known


def _phase(table: Mapping[str, Any]) -> dict[str, Any]:
    exits = {int(block): float(weight) for block, weight in table.get("exits", {}).items()}
    return {**table, "exits": exits, "fixed": tuple(table.get("fixed", ()))}


def _made(kind: Any, table: Mapping[str, Any], path: Path) -> Any:
    """An instance of a dataclass from a table with exactly its keys."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - set(fields)):
        raise RecipeError(f"{path}: unknown key {unknown[0]} in {kind.__name__.lower()}, expected of {', '.join(fields)}")
    required = [n for n, f in fields.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if missing := sorted(set(required) - set(table)):
        raise RecipeError(f"{path}: {kind.__name__.lower()} lacks the key {missing[0]}")
    return kind(**table)
