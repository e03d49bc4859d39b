"""What every kind of output is told: a result or a failure per frame, and that all is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tflite_runtime_app.decide import Answer


@dataclass(frozen=True, slots=True)
class Result:
    """One frame's answer: `exit` is the stage index, `block` the blocks done of `blocks`, `ms` preprocessing to answer."""

    source: str
    frame: int
    answer: Answer
    exit: int
    block: int
    blocks: int
    macs: int
    ms: float
    stages_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """One frame, or one source (then frame 0), that gave no answer; `error` is one line."""

    source: str
    frame: int
    error: str


class Sink(Protocol):
    """One kind of output."""

    def result(self, result: Result) -> None: ...

    def failure(self, failure: Failure) -> None: ...

    def close(self) -> None:
        """All frames are through; a summary may follow."""
