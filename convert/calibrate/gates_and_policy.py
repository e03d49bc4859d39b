"""From images that the integer file has seen to gates, policy and thresholds: the exits of a build.

One share of the images trains the gates and the strength with which thresholds follow the noise, another chooses and bounds the policy;
what comes of it is measured on a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import gate_evidence, inr
from calibration.choose import Aim, Choice, choose
from calibration.families import DEFAULT, FAMILIES
from calibration.gates import Gate, fit_gate, log_odds
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.replay import Answers, Replay, answers
from tflite_runtime_app.inference.background import NO_MARGIN, beside, likeness

LEAST_LISTED = 20
NONE_QUANTILE = 0.02  # share of good answers that each of the two tests for "none of these" may wrongly take


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images at full depth through the integer file: what came out, what the labels make of it, the right labels where they are known.

    `float_top1` [n] are the float tower's own answers at full depth. `shown` [n] are the labels of those images whose folder is one's id,
    -1 for the others: where most images show what no label names, nothing is `wanted`, and what the few show is known all the same.
    """

    found: Replay
    answers: Answers
    wanted: NDArray[np.int64] | None
    float_top1: NDArray[np.int64]
    shown: NDArray[np.int64]

    def believed(self, left: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which answers [n], each where its image left, "none of these" should not take: right ones to images of listed things, where
        there are `LEAST_LISTED` of these, else all good ones."""
        place, listed = np.arange(len(left)), self.shown >= 0
        right: NDArray[np.bool_] = self.good[place, left]
        if listed.sum() >= LEAST_LISTED:
            right = listed & (self.answers.top1[place, left] == self.shown)
        return right

    @property
    def good(self) -> NDArray[np.bool_]:
        """Whether each stage's answer [n, stages] is right; where that is not known, whether it is the float tower's."""
        target = self.float_top1 if self.wanted is None else self.wanted
        good: NDArray[np.bool_] = self.answers.top1 == target[:, None]
        return good

    @property
    def worth(self) -> NDArray[np.bool_]:
        """Whether stopping at each exit [n, exits] is at least as good as going on: what a gate learns."""
        return self.good[:, :-1] >= self.good[:, -1:]


def part_of(
    found: Replay,
    bank: LabelBank,
    logit_scale: float,
    reference: NDArray[np.float32],
    labels: Sequence[int] | None,
    shown: Sequence[int],
) -> Part:
    """A replay with the float tower's embeddings [n, E] of the same images, their labels where they are known, and what each shows."""
    wanted = None if labels is None else np.asarray(labels, np.int64)
    top1 = (reference @ bank.vectors.T).argmax(1)
    return Part(found, answers(found, bank, logit_scale), wanted, top1, np.asarray(shown, np.int64))


def fit_gates(part: Part, kind: str | None, seed: int) -> tuple[tuple[Gate, ...], dict[str, Any]]:
    """A gate for every exit, of that kind or of the one with the least cross-validated log loss; and what was compared."""
    features, worth = part.answers.features, part.worth
    exits = range(worth.shape[1])
    losses = [gate_evidence.kinds_compared(features[:, k], worth[:, k], seed) for k in exits]
    chosen = kind or gate_evidence.best_kind(losses)
    gates = tuple(fit_gate(features[:, k], worth[:, k], chosen, seed) for k in exits)
    ablation = [gate_evidence.ablation(features[:, k], worth[:, k], chosen, seed) for k in exits]
    return gates, {"kind": chosen, "log_loss": losses, "ablation": ablation}


def fit_policy(
    learned: Observed,
    held: Observed,
    ratios: Sequence[float],
    family: str,
    aim: Aim,
) -> tuple[tuple[int, ...], Choice, dict[str, Any]]:
    """The offsets and the policy of that family that keeps to the aim, its numbers learned on `learned`, its bound proved on `held`."""
    strength, shares = inr.strength(learned, ratios)
    offsets = inr.offsets(ratios, strength)
    choice = choose(FAMILIES[family](learned, offsets), held, aim, bound=family == DEFAULT, learned=learned)
    return offsets, choice, {"inr": list(ratios), "strength": strength, "strengths": {str(s): v for s, v in shares.items()}}


def gate_report(gates: tuple[Gate, ...], part: Part, seen: Observed, thresholds: Sequence[int]) -> list[dict[str, Any]]:
    """Of every gate: how honest its odds are and how often the integer gate decides as the float one, on images it was not fitted to."""
    rows = []
    for k, (gate, threshold) in enumerate(zip(gates, thresholds, strict=True)):
        features = part.answers.features[:, k]
        honest = gate_evidence.reliability(log_odds(gate, features), part.worth[:, k])
        equal = gate_evidence.decisions_equal(gate, features, seen.scores[:, k], threshold)
        rows.append(
            {
                "chance": honest.chance,
                "share": honest.share,
                "count": honest.count,
                "ece": honest.ece,
                "equal": equal,
                "threshold": threshold,
            }
        )
    return rows


def none_threshold(part: Part, left: NDArray[np.int64]) -> float:
    """The cosine below which an answer counts as none of the labels: `NONE_QUANTILE` of the good answers lie below it."""
    good, cosine = part.believed(left), part.answers.cosine[np.arange(len(left)), left]
    return float(np.quantile(cosine[good], NONE_QUANTILE)) if good.any() else -1.0


def none_margin(part: Part, left: NDArray[np.int64], labels: LabelBank, background: LabelBank | None) -> float:
    """How much better than the best label a background name has to fit for an answer to count as none of the labels: `NONE_QUANTILE` of
    the good answers lie above it. Never less than 0, or what fits a label best would be called something else. Nothing is turned away
    where there is no background beside the labels, or no good answer."""
    others, place = beside(labels, background), np.arange(len(left))
    good = part.believed(left)
    if others is None or not good.any():
        return NO_MARGIN
    embeddings = part.found.embeddings[place, left][good]
    ahead = [likeness(e, others).cosine for e in embeddings] - part.answers.cosine[place, left][good]
    return max(0.0, float(np.quantile(ahead, 1 - NONE_QUANTILE)))
