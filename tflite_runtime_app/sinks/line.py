"""One line a frame, for people; failures and the summary go to the other stream."""

from __future__ import annotations

from collections import Counter
from typing import TextIO

from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.inference.answer import Answer
from tflite_runtime_app.sinks.base import Failure, Result, Sink


class LineSink(Sink):
    """Results as aligned lines on `out`, failures and the closing summary on `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._widths = [0, 0, 0]
        self._exits: Counter[str] = Counter()
        self._failures = 0
        self._ms = 0.0

    def result(self, result: Result) -> None:
        exit_text = exit_words(result)
        columns = (escaped(result.source), escaped(answer_words(result.answer)), exit_text)
        # Results come one by one, so a column is as wide as its widest entry so far.
        self._widths = [max(width, len(text)) for width, text in zip(self._widths, columns, strict=True)]
        padded = "  ".join(text.ljust(width) for width, text in zip(self._widths, columns, strict=True))
        print(f"{padded}  {result.ms:7.1f} ms", file=self._out, flush=True)
        self._exits[exit_text] += 1
        self._ms += result.ms

    def failure(self, failure: Failure) -> None:
        self._failures += 1
        print(f"classify: {escaped(failure.error)}", file=self._err, flush=True)

    def close(self) -> None:
        images = self._exits.total()
        parts = [f"{images} image{'' if images == 1 else 's'}"]
        if self._failures:
            parts[0] += f", {self._failures} failed"
        parts += [f"{text}: {count / images:.0%}" for text, count in sorted(self._exits.items())]
        if images:
            parts.append(f"mean {self._ms / images:.1f} ms")
        print("; ".join(parts), file=self._err, flush=True)


def answer_words(answer: Answer) -> str:
    """The labels with their probabilities, best first; the best only as "closest" when it is not to be believed, after "not sure" when it
    is less likely than all the others together."""
    labels = ", ".join(f"{match.label} {match.probability:.1%}" for match in answer.top)
    if answer.none:
        looks = f"; looks like {answer.like}" if answer.like else ""
        return f"none of these{looks} (closest: {labels})"
    return labels if answer.sure else f"not sure: {labels}"


def exit_words(result: Result) -> str:
    """Where the frame left, as in "exit 1 (block 6 of 12)"; the last stage is the full depth."""
    if result.block == result.blocks:
        return f"full depth (block {result.block} of {result.blocks})"
    return f"exit {result.exit} (block {result.block} of {result.blocks})"
