"""Gates: what an exit's features are standardised by, the linear score over them, and the thresholds that go with it.

A gate scores standardised features x (confidence, margin, variance) as w·x + b. Here w reads the confidence alone; a learned gate
has other weights and nothing else changes. Thresholds are fitted to the scores that the integer gates themselves give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid, grid_for
from tflite_runtime_app.fitted import NEVER

SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class Gate:
    """One exit's gate: standardisation (mean, deviation), weights and bias of the score, and the grids of features and score."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    weights: tuple[float, float, float]
    bias: float
    features: Grid
    score: Grid


def confidence_gate(features: NDArray[np.float32]) -> Gate:
    """The gate whose score is the standardised confidence, for features [n, 3] seen at this exit."""
    mean, deviation = features.mean(0), np.maximum(features.std(0), SMALLEST_DEVIATION)
    standard = (features - mean) / deviation
    # Confidence lies in 0..1, so the grid covers all scores that can ever come; the other two are clipped to it.
    ends = (np.array([0.0, 1.0]) - mean[0]) / deviation[0]
    grid = grid_for("features", float(min(ends[0], standard.min())), float(max(ends[1], standard.max())))
    score = grid_for("score", float(ends[0]), float(ends[1]))
    return Gate(_triple(mean), _triple(deviation), (1.0, 0.0, 0.0), 0.0, grid, score)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What would happen to n images at every exit: int8 `scores` [n, exits], and whether the answer is `good` there and at full depth.

    Good means right where the label is known, else equal to the float tower's answer at full depth.
    """

    scores: NDArray[np.int64]
    good: NDArray[np.bool_]
    good_full: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Integer thresholds per exit, and what they cost: `loss` is the drop of the share of good answers on the images not fitted on."""

    values: tuple[int, ...]
    loss: float
    images: int


def leaves_at(scores: NDArray[np.int64], thresholds: Sequence[int]) -> NDArray[np.int64]:
    """For each image the exit that it leaves at; the number of exits stands for full depth."""
    stops = scores >= np.asarray(thresholds)
    return np.where(stops.any(1), stops.argmax(1), scores.shape[1])


def loss(outcomes: Outcomes, thresholds: Sequence[int]) -> tuple[float, float]:
    """Share of good answers at full depth minus that with exits (negative when exits rescue more than they harm), and its standard error.

    Standard error of the mean of the paired differences: each image counts 1 (harmed), -1 (rescued) or 0.
    """
    left = leaves_at(outcomes.scores, thresholds)
    good = np.column_stack([outcomes.good, outcomes.good_full])[np.arange(len(left)), left]
    difference = outcomes.good_full.astype(np.float64) - good
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def fit_thresholds(fit: Outcomes, held: Outcomes, allowed: float = 0.01, smallest: int = 100) -> Thresholds:
    """The boldest thresholds of a rising series of budgets that cost at most `allowed` on `held`, images they were not fitted on.

    For each budget every exit gets the lowest threshold at which the images leaving there lose no more than its share of it. What they cost
    on `held` is taken with one standard error on top, since other images will differ. With fewer than `smallest` images a loss that small
    cannot be shown: then every threshold is NEVER.
    """
    exits, held_images = fit.scores.shape[1], len(held.good_full)
    best = Thresholds((NEVER,) * exits, 0.0, held_images)
    if held_images < smallest or len(fit.good_full) < smallest:
        return best
    for budget in np.linspace(0.0, 2 * allowed, 21):
        values = tuple(_lowest(fit, exit_index, budget / exits) for exit_index in range(exits))
        cost, error = loss(held, values)
        if cost + error <= allowed:
            best = Thresholds(values, cost, held_images)
    return best


def _lowest(outcomes: Outcomes, exit_index: int, budget: float) -> int:
    """The lowest threshold of one exit, going down from NEVER, before the net loss of those that leave there exceeds the budget."""
    scores = outcomes.scores[:, exit_index]
    harm = outcomes.good_full.astype(np.int64) - outcomes.good[:, exit_index].astype(np.int64)
    threshold = NEVER
    for candidate in range(NEVER - 1, -129, -1):
        if harm[scores >= candidate].sum() / len(scores) > budget:
            break
        threshold = candidate
    return threshold


def _triple(values: NDArray[np.float32]) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third
