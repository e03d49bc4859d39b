"""`--stats`: how fast it was and what it took, as a table at the end."""

from __future__ import annotations

import time
from collections import deque
from typing import TextIO

import numpy as np

from tflite_runtime_app import board
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sinks.base import Failure, Result, Sink, Status

KEPT = 5000  # runs that the percentiles are of: the last ones


class StatsSink(Sink):
    """Cold start to the first answer, answers a second, median and 90th percentile per stage, memory, temperature, throttling, on `err`."""

    def __init__(self, err: TextIO) -> None:
        self._err = err
        self._stages: dict[int, deque[float]] = {}
        self._whole: deque[float] = deque(maxlen=KEPT)
        self._cold: float | None = None
        self._first = self._last = 0.0
        self._results, self._failures = 0, 0
        self._status: Status | None = None
        self._hottest: float | None = None
        self._most = 0

    def result(self, result: Result) -> None:
        now = time.monotonic()
        if not self._results:
            self._cold, self._first = board.seconds_since_start(), now
        self._results, self._last = self._results + 1, now
        self._whole.append(result.ms)
        for stage, ms in enumerate(result.stages_ms):
            self._stages.setdefault(stage, deque(maxlen=KEPT)).append(ms)
        if self._results % 100 == 1:
            self._measure()

    def failure(self, failure: Failure) -> None:
        self._failures += 1

    def status(self, status: Status) -> None:
        self._status = status
        self._measure()

    def close(self) -> None:
        self._measure()
        for name, value in self.rows():
            print(f"  {name:<28} {escaped(value)}", file=self._err)
        self._err.flush()

    def rows(self) -> list[tuple[str, str]]:
        """What is shown: name and figure."""
        rows = [("answers", f"{self._results}, {self._failures} failed")]
        if self._cold is not None:
            rows.append(("start to first answer", f"{self._cold:.2f} s"))
        if self._results > 1 and self._last > self._first:
            rows.append(("answers a second", f"{(self._results - 1) / (self._last - self._first):.1f}"))
        if self._whole:
            rows.append(("frame to answer", _spread(self._whole)))
        rows += [(f"stage {stage}", f"{_spread(times)}, {len(times)} runs") for stage, times in sorted(self._stages.items())]
        if self._most:
            rows.append(("memory, most seen", f"{self._most / 1e6:.0f} MB"))
        if self._hottest is not None:
            rows.append(("temperature, most seen", f"{self._hottest:.0f} °C"))
        held = board.throttled()
        if held is not None:
            rows.append(("held back", held))
        if self._status is not None:
            health = self._status.health
            rows.append(("source", f"{health.restarts} restarts, {health.dropped} frames overtaken"))
        return rows

    def _measure(self) -> None:
        self._most = max(self._most, board.memory_bytes())
        now = board.celsius()
        if now is not None:
            self._hottest = now if self._hottest is None else max(self._hottest, now)


def _spread(values: deque[float]) -> str:
    p50, p90 = np.percentile(np.array(values), (50, 90))
    return f"p50 {p50:.1f} ms, p90 {p90:.1f} ms"
