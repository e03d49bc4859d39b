"""A live source as the loop sees it: the newest frame, and how the source is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tflite_runtime_app.sources.base import Frame

State = Literal["starting", "live", "stalled", "ended"]


@dataclass(frozen=True, slots=True)
class Health:
    """`age` is the seconds since the newest fresh frame, None before the first; `restarts` counts those of the source's process.

    `dropped` counts frames that a newer one overtook, or that grew too old, before they were looked at.
    `error` is one line on what went wrong last, empty while all is well. `ended` is for good: a video
    file is through, standard input was closed, or nothing came however often it was tried.
    """

    state: State
    restarts: int = 0
    dropped: int = 0
    age: float | None = None
    error: str = ""


class Feed(Protocol):
    """One live source."""

    word: str

    def next(self, timeout: float) -> Frame | None:
        """The newest frame that was not given yet, None when none comes within `timeout` seconds or the feed has ended."""

    def health(self) -> Health:
        """How the source is doing, at once and from any thread."""

    def close(self) -> None:
        """Within a second nothing of the source is left, however badly it hangs."""
