"""What every kind of output hears: a result or a failure for each frame, the status once a second, and the end."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from tflite_runtime_app.inference.answer import Answer
from tflite_runtime_app.sources.feed import Health


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One frame's answer: `exit` is the stage where it left, from 0, `block` the blocks done of `blocks`, `ms` preprocessing to answer.

    `source` and `frame` are the frame's own; `macs` are the multiply-accumulates spent, `stages_ms` the milliseconds of every stage that
    was run. `image` is what was looked at, turned and cropped as asked; `taken` is when a live source took it, in seconds since 1970.
    `steady` is the label that the last frames agree on, "" while they do not agree, "none" where they agree on none of these; None without
    smoothing.
    """

    source: str
    frame: int
    answer: Answer
    exit: int
    block: int
    blocks: int
    macs: int
    ms: float
    stages_ms: tuple[float, ...]
    image: Image.Image | None = None
    taken: float | None = None
    steady: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One frame, or one source (then frame 0), that gave no answer; `error` is one line."""

    source: str
    frame: int
    error: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a running loop is doing. Rates over the last seconds, `memory` in bytes; `celsius` and `throttled` where the board tells."""

    seconds: float
    frames: int
    fps: float
    health: Health
    memory: int
    celsius: float | None = None
    throttled: str | None = None


class Sink:
    """One kind of output; what it does not care for, it leaves as it is here."""

    def result(self, result: Result) -> None:
        """A frame was answered."""

    def failure(self, failure: Failure) -> None:
        """A frame or a source could not be."""

    def status(self, status: Status) -> None:
        """About once a second of a live source."""

    def labels(self, names: tuple[str, ...], notice: str) -> None:
        """These are the labels from here on; `notice` says what became of the exits, empty where there is nothing to say."""

    def close(self) -> None:
        """All frames are through; a summary may follow."""


def label_of(result: Result) -> str:
    """The label that counts: the steady one where there is smoothing ("" while the frames do not agree), else the best, "none" for none."""
    if result.steady is not None:
        return result.steady
    return "none" if result.answer.none else result.answer.top[0].label
