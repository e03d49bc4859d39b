"""How much of an exit's logits is information and how much quantization noise, and what that does to its threshold.

INR_k = sum z^2 / sum (ẑ - z)^2 over images and labels, z the float network's logits at exit k and ẑ the integer file's, both centred over
labels (a constant on all labels changes no answer). The paper ("The Rescue Effect", arXiv 2605.26415) names the ratio and lets layer-
adaptive confidence thresholds follow it; its formulas are not public, these are ours.

theta_k = t - s g(INR_k), g(INR_k) = log(INR_k / median over exits): an exit whose logits carry less noise may stop more readily.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.gates import SCORE
from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.thresholds import family

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
SURE = 0.02  # of full depth: a standard error of the difference on a thousand images, by bootstrap on the embedded model
LOSSES = (0.001, 0.002, 0.003, 0.005, 0.01)  # at which the strengths are compared


def information_to_noise(
    exact: NDArray[np.float32], found: NDArray[np.float32], labels: NDArray[np.float32]
) -> tuple[float, ...]:
    """INR of each stage, from embeddings [n, stages, E] of the float network and of the integer file, and label vectors [labels, E]."""
    ratios = []
    for k in range(exact.shape[1]):
        z, noisy = (_logits(part[:, k], labels) for part in (exact, found))
        ratios.append(float((z**2).sum() / max(((noisy - z) ** 2).sum(), 1e-12)))
    return tuple(ratios)


def offsets(ratios: Sequence[float], strength: float) -> tuple[int, ...]:
    """s g(INR_k) of each exit in codes of the scores' grid; no exit's is negative where there is only one."""
    ease = np.log(np.maximum(ratios, 1e-12)) - np.log(np.maximum(np.median(ratios), 1e-12)) if len(ratios) else np.zeros(0)
    return tuple(round(float(strength * value / SCORE.scale)) for value in ease)


def strength(seen: Observed, ratios: Sequence[float]) -> tuple[float, dict[float, float]]:
    """The strength that saves most on these images, averaged over `LOSSES`, and the mean share of MACs left under each.

    It is 0, the same threshold at every exit, unless another saves more by `SURE`.
    """
    shares = {s: _share(seen, offsets(ratios, s)) for s in STRENGTHS}
    best = min(shares, key=lambda s: (shares[s], s))
    return (best if shares[0.0] - shares[best] > SURE else 0.0), shares


def _share(seen: Observed, exits: tuple[int, ...]) -> float:
    """Mean over `LOSSES` of the fewest MACs, as a share of full depth, at which no more is lost."""
    curve = []
    for policy in family(exits):
        left = seen.leaves(policy)
        curve.append((seen.loss(left), seen.share(left)))
    return float(np.mean([min([share for lost, share in curve if lost <= most] + [1.0]) for most in LOSSES]))


def _logits(embeddings: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines [n, labels] centred over labels; the logit scale divides out."""
    logits = unit(embeddings).astype(np.float64) @ labels.T.astype(np.float64)
    centred: NDArray[np.float64] = logits - logits.mean(1, keepdims=True)
    return centred
