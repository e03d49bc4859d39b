"""Between the thread that reads a source and the one that looks: room for a single frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tflite_runtime_app import board
from tflite_runtime_app.sources.base import Frame, too_old


class Slot:
    """The newest frame that nobody took yet. `on_taken` is called, by whoever takes, after each frame.

    A frame that has grown too old here, by `clock` (this program was stopped, or the machine slept), is dropped.
    """

    def __init__(self, on_taken: Callable[[], None] = lambda: None, clock: Callable[[], float] = board.clock) -> None:
        self._changed = threading.Condition()
        self._on_taken, self._clock = on_taken, clock
        self._frame: Frame | None = None
        self._ended = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Frames that a newer one overtook, or that grew too old."""
        return self._dropped

    @property
    def full(self) -> bool:
        """Whether a frame lies here that another `put` would overtake."""
        return self._frame is not None

    @property
    def through(self) -> bool:
        """Whether no frame is here, and none comes any more."""
        with self._changed:
            return self._ended and self._frame is None

    def put(self, frame: Frame) -> None:
        """`frame` lies here; one that nobody took is dropped and counted."""
        with self._changed:
            self._dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def take(self, timeout: float) -> Frame | None:
        """The frame, waited for `timeout` seconds at most; None when none came, at once when none will."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._drop_old()
            while self._frame is None and not self._ended and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
                self._drop_old()
            frame, self._frame = self._frame, None
        if frame is not None:
            self._on_taken()
        return frame

    def _drop_old(self) -> None:
        if self._frame is not None and too_old(self._frame, self._clock()):
            self._frame = None
            self._dropped += 1

    def end(self) -> None:
        """No more frames come; what lies here may still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
