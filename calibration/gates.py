"""Gates: the chance that stopping at an exit is at least as right as going on, learned from what is seen there.

A gate reads (confidence, margin, variance), standardised, and scores the log odds of "at least as right": logistic regression (one layer)
or a tiny perceptron (three inputs, a few rectified units, one output), both fitted by scikit-learn. The scores of all exits lie on one grid
of log odds, so that one threshold means the same at each; thresholds are fitted to what the integer gates themselves give.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Grid, grid_for

KINDS = ("logistic", "mlp")
SMALLEST_DEVIATION = 1e-6
FURTHEST = 4.0  # deviations that the features' grid covers at most
LOG_ODDS = 6.0  # ends of the scores' grid: one in four hundred
SCORE = Grid(2 * LOG_ODDS / 255, 0)
UNITS = 6  # of the perceptron
FEWEST = 50  # images, and 5 of each outcome: below that nothing is learned


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer: rows of `weights` [out][in], and `bias` [out]."""

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """One exit's gate: standardisation (mean, deviation), one layer or two with ReLU between, and the grids of what goes in and out.

    `hidden` is the grid of what lies between two layers, None with one.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    layers: tuple[Layer, ...]
    features: Grid
    hidden: Grid | None
    score: Grid = SCORE

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(len(row) for layer in self.layers for row in layer.weights)


def fit_gate(features: NDArray[np.float32], worth: NDArray[np.bool_], kind: str = "logistic", seed: int = 0) -> Gate:
    """The gate of an exit where `features` [n, 3] were seen and stopping was `worth` it [n].

    From fewer than `FEWEST` images, or of one outcome alone, the gate is the confidence, standardised, and says nothing of odds.
    """
    mean, deviation, standard = standardise(features)
    rare = min(int(worth.sum()), int((~worth).sum()))
    if len(worth) < FEWEST or rare < 5:
        layers: tuple[Layer, ...] = (Layer(((1.0, 0.0, 0.0),), (0.0,)),)
    else:
        layers = _logistic(standard, worth) if kind == "logistic" else _mlp(standard, worth, seed)
    span = np.clip([standard.min(), standard.max()], -FURTHEST, FURTHEST)
    grid, hidden = grid_for("features", float(span[0]), float(span[1])), None
    if len(layers) > 1:
        hidden = grid_for("hidden", 0.0, float(np.maximum(_apply(layers[0], standard), 0.0).max()))
    return Gate(_floats(mean), _floats(deviation), layers, grid, hidden)


def standardise(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each feature, and the features in deviations from the mean."""
    values = features.astype(np.float64)
    mean, deviation = values.mean(0), np.maximum(values.std(0), SMALLEST_DEVIATION)
    return mean, deviation, (values - mean) / deviation


def log_odds(gate: Gate, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the gate says in float, [n], of features [n, 3]."""
    x = (features.astype(np.float64) - np.array(gate.mean)) / np.array(gate.deviation)
    for layer in gate.layers[:-1]:
        x = np.maximum(_apply(layer, x), 0.0)
    return _apply(gate.layers[-1], x)[:, 0]


def _logistic(standard: NDArray[np.float64], worth: NDArray[np.bool_]) -> tuple[Layer, ...]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0).fit(standard, worth)
    return (Layer((_floats(model.coef_[0]),), (float(model.intercept_[0]),)),)


def _mlp(standard: NDArray[np.float64], worth: NDArray[np.bool_], seed: int) -> tuple[Layer, ...]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((UNITS,), solver="lbfgs", alpha=1.0, max_iter=500, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # five hundred steps are enough for thirty numbers
        model.fit(standard, worth)
    return tuple(
        Layer(tuple(_floats(row) for row in w.T), _floats(b)) for w, b in zip(model.coefs_, model.intercepts_, strict=True)
    )


def _apply(layer: Layer, x: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = x @ np.array(layer.weights).T + np.array(layer.bias)
    return result


def _floats(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
