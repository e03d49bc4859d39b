"""What the phases of a calibration give, each a value of its own: rewrites' inputs, ranges, weights, exits; and all of them together.

`stored.py` says how they lie on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import Gate
from calibration.probabilities import any_in_two_terms
from calibration.ranges import Grid
from tflite_runtime_app.bundle.calibration_outputs import Remembered
from tflite_runtime_app.inference.background import NO_MARGIN

Channels = Mapping[str, NDArray[np.float32]]  # role -> a number per channel


@dataclass(frozen=True, slots=True)
class Origin:
    """What a calibration belongs to, and what it rests on."""

    weights_sha256: str = ""
    exits: tuple[int, ...] = ()
    ladder: tuple[str, ...] = ()  # the steps asked for, by name
    stream: str = "int8"
    digest: str = ""  # of the images
    images: int = 0  # that the ranges saw
    observer: str = ""


@dataclass(frozen=True, slots=True)
class RewriteInputs:
    """What the rewrites must know of the float tower: of keys and values by role, and the rotations' seed."""

    channel_means: Channels = field(default_factory=dict)
    channel_maxima: Channels = field(default_factory=dict)  # the largest absolute value of a channel once its mean is taken out
    rotation_seed: int = 0


@dataclass(frozen=True, slots=True)
class RangeCalibration:
    """The grid of every role, and what it was decided by."""

    grids: dict[str, Grid] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)  # the largest absolute value seen of a role
    observers: dict[str, str] = field(default_factory=dict)  # kind of tensor -> observer; none in files older than the search


@dataclass(frozen=True, slots=True)
class WeightCalibration:
    """How layers depart from the plain file; empty where there were too few images, or the recipe asks for neither."""

    rounding: dict[str, NDArray[np.int8]] = field(
        default_factory=dict
    )  # layer -> steps that its weights lie off their nearest codes
    corrections: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # role of a head's result -> what its bias lacks


@dataclass(frozen=True, slots=True)
class ExitCalibration:
    """Gates, policy and thresholds; without gates every image goes to full depth."""

    gates: tuple[Gate, ...] = ()
    thresholds: tuple[int, ...] = ()  # one for each gate
    policy: str = "never"
    parameters: dict[str, float] = field(default_factory=dict)
    risk: dict[str, float] = field(default_factory=dict)  # what the bound found
    none_threshold: float = -1.0  # the cosine below which an answer is none of the labels
    none_margin: float = NO_MARGIN  # what a background name's cosine has to be more than the best label's
    labels: str = ""  # identifies the labels that all of this holds for
    evidence: dict[str, Any] = field(default_factory=dict)  # what it was chosen by
    remembered: Remembered | None = None  # the outputs of some images


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration, phase by phase; `measured` are the figures on held-apart images that a report shows."""

    origin: Origin = field(default_factory=Origin)
    rewrites: RewriteInputs = field(default_factory=RewriteInputs)
    ranges: RangeCalibration = field(default_factory=RangeCalibration)
    weights: WeightCalibration = field(default_factory=WeightCalibration)
    exits: ExitCalibration = field(default_factory=ExitCalibration)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def steps_taken(self) -> tuple[str, ...]:
        """The steps that the file really went through: too few images round no weights and correct no biases, and SOFTMAX may do."""
        found = {
            "two-term-probabilities": any_in_two_terms(self.ranges.grids),
            "rounding": bool(self.weights.rounding),
            "bias-correction": bool(self.weights.corrections),
        }
        without = {name for name, taken in found.items() if not taken}
        return tuple(step for step in self.origin.ladder if step not in without)
