"""One threshold on the confidence, from the highest seen to the lowest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import Confidence, Policy

STEPS = 128


def members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """Thresholds at even quantiles of the confidences at all exits."""
    return tuple(Confidence(threshold) for threshold in thresholds(seen))


def thresholds(seen: Observed) -> tuple[float, ...]:
    """Falling, each once."""
    values = seen.features[:, :, 0].ravel()
    found = np.quantile(values, np.linspace(1, 0, STEPS)) if len(values) else np.zeros(0)
    return tuple(sorted({float(value) for value in found}, reverse=True))
