"""Comma-separated values, a row a frame, as spreadsheets and pandas read them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TextIO

from tflite_runtime_app.escaping.spreadsheet import cell
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sinks.base import Failure, Result, Sink

COLUMNS = (
    "source",
    "frame",
    "taken",
    "label",
    "score",
    "cosine",
    "none",
    "like",
    "steady",
    "exit",
    "block",
    "macs",
    "ms",
    "error",
)


class CsvSink(Sink):
    """A header, then a row per result or failure, each flushed at once. Only the best label is in it.

    No word in it begins a formula, and no name of a file makes a second line.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def result(self, result: Result) -> None:
        best = result.answer.top[0]
        taken = "" if result.taken is None else datetime.fromtimestamp(result.taken, UTC).isoformat(timespec="milliseconds")
        self._write(
            source=cell(escaped(result.source)),
            frame=result.frame,
            taken=taken,
            label=cell(best.label),
            score=f"{best.probability:.6f}",
            cosine=f"{best.cosine:.6f}",
            none=int(result.answer.none),
            like=cell(result.answer.like),
            steady=cell(result.steady or ""),
            exit=result.exit,
            block=result.block,
            macs=result.macs,
            ms=f"{result.ms:.3f}",
        )

    def failure(self, failure: Failure) -> None:
        self._write(source=cell(escaped(failure.source)), frame=failure.frame, error=cell(escaped(failure.error)))

    def close(self) -> None:
        self._out.flush()

    def _write(self, **row: object) -> None:
        self._writer.writerow(row)
        self._out.flush()
