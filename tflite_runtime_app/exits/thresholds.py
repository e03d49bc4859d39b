"""The thresholds of layer-adaptive exits as one family, from never leaving to always, and the walk along it (`risk.py`).

Scores are log odds on one grid, so theta_k = t - offset_k with one t and an offset for each exit: s g(INR_k) in codes, s = 0 being one
global threshold (`calibration/inr.py`). The offsets are fitted once; t may be chosen again wherever images can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.risk import ALPHA, DELTA, Bound, learn_then_test
from tflite_runtime_app.policies import Lct

NEVER = 128  # a threshold one above the largest int8 score


def family(offsets: Sequence[int]) -> tuple[Lct, ...]:
    """The policies in order, each bolder than the one before: t falls from where no exit is open to where all always are."""
    found: list[Lct] = []
    for t in range(NEVER + max((*offsets, 0)), -129 + min((*offsets, 0)), -1):
        thresholds = tuple(min(max(t - offset, -128), NEVER) for offset in offsets)
        if any(threshold < NEVER for threshold in thresholds) and (not found or thresholds != found[-1].thresholds):
            found.append(Lct(thresholds))
    return tuple(found)


def bounded(seen: Observed, policies: Sequence[Lct], alpha: float = ALPHA, delta: float = DELTA) -> Bound:
    """How far along the policies the share harmed is bounded; harm is counted as `Observed.harmed` does, with labels or without."""
    return learn_then_test((int(seen.harmed(seen.leaves(policy)).sum()) for policy in policies), len(seen), alpha, delta)
