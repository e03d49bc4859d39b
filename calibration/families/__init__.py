"""Families of exit policies, one file each: `members(seen, offsets)` gives its policies from the safest to the boldest.

`seen` are images to learn numbers from (mean margins of classes, quantiles of confidence), `offsets` those of the exits
(`calibration/inr.py`). A new family is one file, added to `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from calibration.families import always, class_based, confidence, lct, never, patience
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import Policy

Family = Callable[[Observed, Sequence[int]], tuple[Policy, ...]]

DEFAULT = "ltt-lct"
FAMILIES: dict[str, Family] = {
    "never": never.members,
    "always": always.members,
    "confidence": confidence.members,
    "class-based": class_based.members,
    "patience": patience.members,
    "lct": lct.members,
    DEFAULT: lct.bounded_members,
}
