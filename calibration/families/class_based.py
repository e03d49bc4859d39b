"""A threshold for each predicted class: easy classes leave sooner (CBT: Görmez and Koyuncu, arXiv 2210.15621).

The paper averages the predicted distributions of a class over images and layers, and scales the gap between its two largest entries to a
range of thresholds, the easier the lower. Here a class's ease is the mean margin over the images predicted as it, at all exits and at full
depth, as a rank in 0..1, and T_c = t + WIDTH (1/2 - ease_c); a class that was never predicted is as easy as the middle one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.families.confidence import thresholds
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import ClassBased, Policy

WIDTH = 0.2


def members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """One for each threshold of the confidence's own family."""
    if not len(seen):
        return ()
    predicted, margins = seen.top1[:, : seen.exits].ravel(), seen.features[:, :, 1].ravel()
    sums, numbers = np.bincount(predicted, margins, seen.labels), np.bincount(predicted, minlength=seen.labels)
    known = numbers > 0
    ease = np.full(seen.labels, 0.5)
    ease[known] = (sums[known] / numbers[known]).argsort().argsort() / max(known.sum() - 1, 1)
    shift = WIDTH * (0.5 - ease)
    return tuple(ClassBased(tuple((t + shift).tolist())) for t in thresholds(seen))
