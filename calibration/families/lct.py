"""Layer-adaptive thresholds on the gates' scores (`tflite_runtime_app/exits/thresholds.py`), without a bound and with one."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.thresholds import family
from tflite_runtime_app.policies import LttLct, Policy


def members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """From never leaving to always."""
    return family(offsets)


def bounded_members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """The same, to be walked by Learn then Test (`calibration/choose.py`)."""
    return tuple(LttLct(policy.thresholds) for policy in family(offsets))
