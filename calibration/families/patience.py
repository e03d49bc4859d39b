"""The same answer at so many exits in a row, from all of them down to one."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import Patience, Policy


def members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """From the most patient."""
    return tuple(Patience(count) for count in range(seen.exits, 0, -1))
