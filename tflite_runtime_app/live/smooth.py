"""Answers steadied over time: a label counts once k of the last n frames agree on it."""

from __future__ import annotations

from collections import Counter, deque

from tflite_runtime_app.errors import UsageError

NONE = "none"


class Smoother:
    """The last `frames` labels, of which `agree` must be the same; more than half, so that two can never be steady at once."""

    def __init__(self, agree: int, frames: int) -> None:
        self._agree = agree
        self._last: deque[str] = deque(maxlen=frames)

    def __call__(self, label: str) -> str:
        """The label that enough of the last frames, this one among them, agree on; "" where none is."""
        self._last.append(label)
        (best, count), *_ = Counter(self._last).most_common(1)
        return best if count >= self._agree else ""

    def forget(self) -> None:
        """What was seen under other labels counts no more."""
        self._last.clear()


def parse_smooth(text: str) -> tuple[int, int]:
    """ "3/5" as (3, 5). Raises UsageError unless more than half must agree, of at most 1,000 frames."""
    agree, slash, frames = text.partition("/")
    if not slash or not agree.isdigit() or not frames.isdigit() or not 0 < int(frames) <= 1000:
        raise UsageError(f"--smooth should be K/N as in 3/5: K of the last N frames agree; found {text!r}")
    if not int(frames) < 2 * int(agree) <= 2 * int(frames):
        raise UsageError(f"--smooth {text}: more than half of the frames must agree, and no more than there are")
    return int(agree), int(frames)
