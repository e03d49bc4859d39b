"""One exit for all images, the deepest first."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import Always, Policy


def members(seen: Observed, offsets: Sequence[int]) -> tuple[Policy, ...]:
    """Exit by exit."""
    return tuple(Always(exit) for exit in reversed(range(seen.exits)))
