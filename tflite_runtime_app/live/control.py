"""What other threads ask of a running loop, carried out between two frames: the loop alone touches the interpreter."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tflite_runtime_app.errors import AppError


class Busy(AppError):
    """The loop did not get round to it in time."""


@dataclass(slots=True)
class _Wish:
    change: Callable[[], str]
    done: threading.Event = field(default_factory=threading.Event)
    notice: str = ""
    error: BaseException | None = None


class Control:
    """A mailbox: `ask` from any thread, `serve` from the loop."""

    def __init__(self, capacity: int = 8) -> None:
        self._wishes: queue.Queue[_Wish] = queue.Queue(capacity)

    def ask(self, change: Callable[[], str], timeout: float = 30.0) -> str:
        """What `change` returned when the loop ran it. Raises what it raised, Busy when that took longer than `timeout` seconds."""
        wish = _Wish(change)
        try:
            self._wishes.put(wish, timeout=timeout)
        except queue.Full:
            raise Busy("too much was asked at once; try again in a while") from None
        if not wish.done.wait(timeout):
            raise Busy(f"no answer within {timeout:.0f} seconds; is the loop running?")
        if wish.error is not None:
            raise wish.error
        return wish.notice

    def serve(self) -> int:
        """Everything asked so far is done; returns how much that was. An error goes to whoever asked."""
        served = 0
        while True:
            try:
                wish = self._wishes.get_nowait()
            except queue.Empty:
                return served
            try:
                wish.notice = wish.change()
            except Exception as error:
                wish.error = error
            wish.done.set()
            served += 1
