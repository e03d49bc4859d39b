"""From an embedding to the answer that people and programs read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.inference.background import likeness
from tflite_runtime_app.inference.cascade import Embedding
from tflite_runtime_app.inference.features import Scores

SURE = 0.5


@dataclass(frozen=True, slots=True)
class Match:
    """One label with its share of the softmax over all labels, and its cosine with the image."""

    label: str
    probability: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best labels, best first and never empty; `none` when even the best is not to be believed.

    `like` then names what the image looks like, where it fits something else better than every label.
    """

    top: tuple[Match, ...]
    none: bool
    like: str = ""

    @property
    def sure(self) -> bool:
        """Whether the best label is one of these, and more likely than all the others together."""
        return not self.none and self.top[0].probability >= SURE


def answer(embedding: Embedding, bank: LabelBank, manifest: Manifest, top: int, background: LabelBank | None = None) -> Answer:
    """The `top` best labels (fewer when the bank has fewer).

    `none` when the best cosine is below manifest.none_threshold, or more than manifest.none_margin below that with a name of the
    `background` (`background.py`).
    """
    best = matches(embedding.scores, bank, max(top, 1))
    like = like_of(embedding.vector, best[0], manifest, background)
    return Answer(best, none=like != "" or best[0].cosine < manifest.none_threshold, like=like)


def like_of(vector: npt.NDArray[np.float32], best: Match, manifest: Manifest, background: LabelBank | None) -> str:
    """What the image looks like where that is none of the labels, "" where the best of them holds."""
    if background is None:
        return ""
    other = likeness(vector, background)
    return other.name if other.cosine - best.cosine > manifest.none_margin else ""


def matches(scores: Scores, bank: LabelBank, top: int) -> tuple[Match, ...]:
    """The `top` best labels by cosine, of equal ones the first in the bank first."""
    order = np.argsort(-scores.cosine, kind="stable")[:top]
    return tuple(Match(bank.names[i], float(scores.probability[i]), float(scores.cosine[i])) for i in order)
