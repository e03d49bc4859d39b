"""How long a live source may take, and how often it is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: `start` until a process gives its first frame, `stall` between fresh ones, `grace` for a killed process to be gone.

    `first` is the delay before the second restart in a row (the first comes at once), doubled up to `longest`; frames for `calm` seconds
    end the row. A source that never gave a frame is given up after `tries` processes.
    """

    start: float = 20.0
    stall: float = 5.0
    grace: float = 0.5
    first: float = 1.0
    longest: float = 60.0
    calm: float = 30.0
    tries: int = 6


class Backoff:
    """The delays between the processes of one source."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._row = 0

    def delay(self, fresh_for: float) -> float:
        """Seconds to wait before the next process, when the last one gave fresh frames for `fresh_for` seconds."""
        if fresh_for >= self._patience.calm:
            self._row = 0
        self._row += 1
        if self._row == 1:
            return 0.0
        return float(min(self._patience.longest, self._patience.first * 2 ** min(self._row - 2, 32)))
