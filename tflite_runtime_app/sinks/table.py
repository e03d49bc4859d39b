"""Comma-separated values, a row a frame, as spreadsheets and pandas read them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TextIO

from tflite_runtime_app.sinks.base import Failure, Result, Sink

COLUMNS = ("source", "frame", "taken", "label", "score", "cosine", "none", "steady", "exit", "block", "macs", "ms", "error")


class CsvSink(Sink):
    """A header, then a row per result or failure, each flushed at once. Only the best label is in it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def result(self, result: Result) -> None:
        best = result.answer.top[0]
        taken = "" if result.taken is None else datetime.fromtimestamp(result.taken, UTC).isoformat(timespec="milliseconds")
        self._write(
            source=result.source,
            frame=result.frame,
            taken=taken,
            label=_inert(best.label),
            score=f"{best.probability:.6f}",
            cosine=f"{best.cosine:.6f}",
            none=int(result.answer.none),
            steady=_inert(result.steady or ""),
            exit=result.exit,
            block=result.block,
            macs=result.macs,
            ms=f"{result.ms:.3f}",
        )

    def failure(self, failure: Failure) -> None:
        self._write(source=failure.source, frame=failure.frame, error=failure.error)

    def close(self) -> None:
        self._out.flush()

    def _write(self, **row: object) -> None:
        self._writer.writerow(row)
        self._out.flush()


def _inert(text: str) -> str:
    """A label that a spreadsheet would take for a formula gets a quote before it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
