"""How many of a source's frames are taken, where it brings more than were asked for."""

from __future__ import annotations


class Pace:
    """Thins what comes faster than `rate` a second, evenly; what comes slower passes."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._due = float("-inf")

    def __call__(self, now: float) -> bool:
        """Whether what comes at `now` (seconds, monotonic) is to be taken."""
        if now < self._due - self._period / 2:  # half a period early is still on time: sources jitter
            return False
        self._due = max(self._due + self._period, now)
        return True
