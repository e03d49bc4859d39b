"""What gates are worth: which features earn what, whether the odds are honest, whether the integer gate decides as the float one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import FEWEST, KINDS, Gate, fit_gate, log_odds
from tflite_runtime_app.bundle.manifest import FEATURES

FOLDS = 5
BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """In bins of equally many images: the mean chance that the gate gives, the share for which it was so, and how many; and the ECE.

    Expected calibration error: sum over bins of n_b / n |share_b - chance_b| (Naeini et al. 2015).
    """

    chance: tuple[float, ...]
    share: tuple[float, ...]
    count: tuple[int, ...]
    ece: float


def kinds_compared(features: NDArray[np.float32], worth: NDArray[np.bool_], seed: int = 0) -> dict[str, float]:
    """The cross-validated log loss of each kind of gate; empty where there is too little to learn from."""
    if not _enough(worth):
        return {}
    return {kind: _log_loss(_held_out(features, worth, kind, seed), worth) for kind in KINDS}


def ablation(features: NDArray[np.float32], worth: NDArray[np.bool_], kind: str, seed: int = 0) -> dict[str, float]:
    """The cross-validated area under the ROC curve with each set of features; empty where there is too little to learn from."""
    if not _enough(worth):
        return {}
    from sklearn.metrics import roc_auc_score

    found = {}
    for size in range(1, len(FEATURES) + 1):
        for names in itertools.combinations(FEATURES, size):
            kept = features.copy()
            kept[:, [FEATURES.index(name) for name in FEATURES if name not in names]] = 0.0  # a constant says nothing
            found[" + ".join(names)] = float(roc_auc_score(worth, _held_out(kept, worth, kind, seed)))
    return found


def reliability(odds: NDArray[np.float64], worth: NDArray[np.bool_]) -> Reliability:
    """How the chances that the log odds [n] state compare with what happened."""
    chance = 1 / (1 + np.exp(-odds))
    bins = np.array_split(np.argsort(chance, kind="stable"), min(BINS, max(len(chance), 1)))
    bins = [members for members in bins if len(members)]
    stated, happened = [float(chance[m].mean()) for m in bins], [float(worth[m].mean()) for m in bins]
    sizes = [len(m) for m in bins]
    error = sum(n * abs(a - b) for n, a, b in zip(sizes, stated, happened, strict=True)) / max(len(chance), 1)
    return Reliability(tuple(stated), tuple(happened), tuple(sizes), float(error))


def decisions_equal(gate: Gate, features: NDArray[np.float32], scores: NDArray[np.int64], threshold: int) -> float:
    """The share of images on which the float gate stops exactly where the integer one does.

    A score of `threshold` stands for all log odds that round to it or more, so that is where the float gate is cut.
    """
    if not len(scores):
        return 1.0
    cut = (threshold - 0.5 - gate.score.zero_point) * gate.score.scale
    return float(((log_odds(gate, features) >= cut) == (scores >= threshold)).mean())


def _held_out(features: NDArray[np.float32], worth: NDArray[np.bool_], kind: str, seed: int) -> NDArray[np.float64]:
    """The log odds [n] of gates that did not see the image."""
    place = np.random.default_rng(seed).permutation(len(worth))
    found = np.zeros(len(worth))
    for fold in np.array_split(place, FOLDS):
        rest = np.setdiff1d(place, fold)
        found[fold] = log_odds(fit_gate(features[rest], worth[rest], kind, seed), features[fold])
    return found


def _log_loss(odds: NDArray[np.float64], worth: NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0, np.where(worth, -odds, odds)).mean())


def _enough(worth: NDArray[np.bool_]) -> bool:
    return len(worth) >= 2 * FEWEST and min(worth.sum(), (~worth).sum()) >= 10


def best_kind(losses: Sequence[dict[str, Any]]) -> str:
    """The kind of least mean loss over exits; the plainest where nothing was learned."""
    known = [loss for loss in losses if loss]
    return min(KINDS, key=lambda kind: float(np.mean([loss[kind] for loss in known]))) if known else KINDS[0]
