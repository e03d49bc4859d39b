"""Whether a source's process still works, judged by nothing but what it sends and when. Times are monotonic seconds."""

from __future__ import annotations

from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.sources.base import Nature, Shot


class Liveness:
    """Judges one process, started at `now`. `before` is the last data of the process before it, for cameras.

    A camera whose driver hangs may repeat its last frame for ever, so one that equals the last to the byte is not fresh. But when a new
    process sees what the old one was stuck on, the frame is true: the lens has its cap on, or looks at a test card.
    """

    def __init__(self, nature: Nature, patience: Patience, now: float, before: bytes | bytearray = b"") -> None:
        self._nature, self._patience, self._before = nature, patience, before
        self._started = self._heard = now
        self._sequence = -1
        self._disorder = ""
        self._late: float | None = None  # since when only frames have come that are too old
        self.last: bytes | bytearray = b""
        self.first_fresh: float | None = None
        self.last_fresh: float | None = None

    @property
    def fresh_for(self) -> float:
        """Seconds from the first fresh frame to the last."""
        return 0.0 if self.first_fresh is None or self.last_fresh is None else self.last_fresh - self.first_fresh

    def see(self, shot: Shot, now: float, age: float = 0.0) -> bool:
        """Whether `shot`, taken `age` seconds ago, shows anything new.

        What waited here while this program was stopped, or the machine slept, is too old for that, and no fault of the source's: from then
        on it has its time anew for a fresh one.
        """
        self._heard = now
        if shot.sequence < self._sequence:
            self._disorder = f"frame {shot.sequence} came after frame {self._sequence}"
            return False
        again = shot.sequence == self._sequence
        if self._nature == "camera":
            again = again or (shot.data == self.last and shot.data != self._before)
            self.last = shot.data
        self._sequence = shot.sequence
        if again:
            return False
        if self._nature != "finite" and age > self._patience.stall:
            self._late = now if self._late is None else self._late
            return False
        self._late = None
        self.first_fresh = now if self.first_fresh is None else self.first_fresh
        self.last_fresh = now
        return True

    @property
    def deadline(self) -> float:
        """When the process is at fault unless something fresh comes; never for what is finite, which may wait as long as it likes."""
        if self._nature == "finite":
            return float("inf")
        if self._late is not None:
            return self._late + self._patience.stall
        if self.last_fresh is None:
            return self._started + self._patience.start
        return self.last_fresh + self._patience.stall

    def fault(self, now: float) -> str:
        """What is wrong, in one line without the source's name; empty while nothing is."""
        if self._disorder:
            return self._disorder
        if now < self.deadline:
            return ""
        if self._late is not None and self._heard > self._late:
            return f"only frames older than {self._patience.stall:g} s"
        if self.last_fresh is None:
            return f"no frame within {self._patience.start:g} s of its start"
        if self._heard > self.last_fresh:
            return f"the same frame for {self._patience.stall:g} s"
        return f"no frame for {self._patience.stall:g} s"
