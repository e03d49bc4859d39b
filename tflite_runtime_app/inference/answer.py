"""From an embedding to the answer that people and programs read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.inference.cascade import Embedding
from tflite_runtime_app.inference.features import Scores


@dataclass(frozen=True, slots=True)
class Match:
    """One label with its share of the softmax over all labels, and its cosine with the image."""

    label: str
    probability: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best labels, best first and never empty; `none` when even the best is too far away to be believed."""

    top: tuple[Match, ...]
    none: bool


def answer(embedding: Embedding, bank: LabelBank, manifest: Manifest, top: int) -> Answer:
    """The `top` best labels (fewer when the bank has fewer); `none` when the best cosine is below manifest.none_threshold."""
    best = matches(embedding.scores, bank, max(top, 1))
    return Answer(best, none=best[0].cosine < manifest.none_threshold)


def matches(scores: Scores, bank: LabelBank, top: int) -> tuple[Match, ...]:
    """The `top` best labels by cosine, of equal ones the first in the bank first."""
    order = np.argsort(-scores.cosine, kind="stable")[:top]
    return tuple(Match(bank.names[i], float(scores.probability[i]), float(scores.cosine[i])) for i in order)
