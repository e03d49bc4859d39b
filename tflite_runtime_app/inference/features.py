"""From an embedding to label scores, and from scores to what a gate looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import LabelBank


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One image against all labels: `cosine` float32 [n], and `probability` float32 [n], which sums to 1."""

    cosine: npt.NDArray[np.float32]
    probability: npt.NDArray[np.float32]

    @property
    def top1(self) -> int:
        """The index of the label with the largest cosine, of several the first."""
        return int(np.argmax(self.cosine))


def score(embedding: npt.NDArray[np.float32], bank: LabelBank, logit_scale: float) -> Scores:
    """Cosines of `embedding` (float [E], of any norm) with the labels, and their softmax.

    Probability is softmax(logit_scale * cosine) over the labels. An embedding of zeros has cosine 0 with every label.
    """
    norm = float(np.linalg.norm(embedding))
    cosine = (bank.vectors @ embedding.astype(np.float32)) / np.float32(norm if norm > 0 else 1.0)
    logits = logit_scale * cosine.astype(np.float64)
    weights = np.exp(logits - logits.max())
    return Scores(cosine.astype(np.float32), (weights / weights.sum()).astype(np.float32))


def gate_features(probability: npt.NDArray[Any], variance: float) -> npt.NDArray[np.float32]:
    """What a gate looks at, float32 [3]: confidence (top-1 probability), margin (top-1 minus top-2), variance as given.

    With one label there is no second: the margin equals the confidence.
    """
    if len(probability) == 1:
        confidence = margin = float(probability[0])
    else:
        second, first = np.partition(probability, -2)[-2:]
        confidence, margin = float(first), float(first) - float(second)
    return np.array([confidence, margin, variance], dtype=np.float32)
