"""What the page shows beside the image, kept in bounded memory: the last answer, the last points, counts, and the source's health."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tflite_runtime_app.sinks.base import Failure, Result, Status
from tflite_runtime_app.sinks.web.limit import Clock

POINTS, RECENT = 120, 100
CELSIUS_SECONDS = 5.0  # 120 points of temperature are ten minutes
SHOWN_LABELS = 1000


class LiveState:
    """Told by the loop, asked by any thread; the loop never waits longer than a snapshot takes. Times are ages in seconds."""

    def __init__(self, names: tuple[str, ...], title: str, blocks: tuple[int, ...], clock: Clock = time.monotonic) -> None:
        self._title, self._blocks, self._clock = title, blocks, clock
        self._lock = threading.Lock()
        self._names, self._notice, self._revision = names, "", 0
        self._run = secrets.token_hex(4)  # a page may outlive the program, and revision 0 of the next run has other labels
        self._result: Result | None = None
        self._result_at = 0.0
        self._failure: Failure | None = None
        self._failure_at = 0.0
        self._status: Status | None = None
        self._status_at = 0.0
        self._results = self._failures = 0
        self._ms: deque[float] = deque(maxlen=POINTS)
        self._exits: Counter[int] = Counter()
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._celsius: deque[float] = deque(maxlen=POINTS)
        self._celsius_at = float("-inf")

    def result(self, result: Result) -> None:
        """A frame was answered; its image is not kept here."""
        kept = replace(result, image=None)
        with self._lock:
            self._result, self._result_at = kept, self._clock()
            self._results += 1
            self._ms.append(kept.ms)
            self._exits[kept.exit] += 1
            self._recent.append(kept.exit)

    def failure(self, failure: Failure) -> None:
        """A frame or a source was not answered."""
        with self._lock:
            self._failure, self._failure_at = failure, self._clock()
            self._failures += 1

    def status(self, status: Status) -> None:
        """How the loop is doing; of its temperatures one in five seconds is kept."""
        with self._lock:
            now = self._clock()
            self._status, self._status_at = status, now
            if status.celsius is not None and now - self._celsius_at >= CELSIUS_SECONDS:
                self._celsius.append(status.celsius)
                self._celsius_at = now

    def labels(self, names: tuple[str, ...], notice: str) -> None:
        """These are the labels now. The exits of the last frames were decided for others, so that count starts anew."""
        with self._lock:
            self._names, self._notice = names, notice
            self._revision += 1
            self._recent.clear()

    def names(self) -> dict[str, Any]:
        """The labels for the box, the first 1000 of them; `revision` is that of the snapshots with these labels."""
        with self._lock:
            return {"revision": self._label_revision(), "count": len(self._names), "names": list(self._names[:SHOWN_LABELS])}

    def snapshot(self) -> dict[str, Any]:
        """Everything the page shows but the image, as plain values for JSON."""
        with self._lock:
            now = self._clock()
            return {
                "title": self._title,
                "frames": self._results,
                "failures": self._failures,
                "answer": None if self._result is None else _answer(self._result, now - self._result_at),
                "exits": {
                    "blocks": list(self._blocks),
                    "total": _counts(self._exits, len(self._blocks)),
                    "recent": _counts(Counter(self._recent), len(self._blocks)),
                },
                "ms": {"points": _rounded(self._ms), "median": _quantile(self._ms, 0.5), "p90": _quantile(self._ms, 0.9)},
                "celsius": {"points": _rounded(self._celsius), "seconds": CELSIUS_SECONDS},
                "failure": None
                if self._failure is None
                else {"error": self._failure.error, "ago": round(now - self._failure_at, 1)},
                "status": None if self._status is None else _status(self._status, now - self._status_at),
                "labels": {"revision": self._label_revision(), "count": len(self._names), "told": self._notice},
            }

    def _label_revision(self) -> str:
        return f"{self._run}-{self._revision}"


def _answer(result: Result, ago: float) -> dict[str, Any]:
    return {
        "source": result.source,
        "frame": result.frame,
        "ago": round(ago, 1),
        "top": [
            {"label": match.label, "score": round(match.probability, 4), "cosine": round(match.cosine, 4)}
            for match in result.answer.top
        ],
        "none": result.answer.none,
        "like": result.answer.like,
        "sure": result.answer.sure,
        "steady": result.steady,
        "exit": result.exit,
        "block": result.block,
        "blocks": result.blocks,
        "ms": round(result.ms, 2),
    }


def _status(status: Status, ago: float) -> dict[str, Any]:
    health = status.health
    return {
        "ago": round(ago, 1),
        "seconds": round(status.seconds, 1),
        "fps": round(status.fps, 2),
        "memory": status.memory,
        "celsius": status.celsius,
        "throttled": status.throttled,
        "state": health.state,
        "restarts": health.restarts,
        "dropped": health.dropped,
        # The loop may hang, and then nobody else counts on.
        "age": None if health.age is None else round(health.age + ago, 1),
        "error": health.error,
    }


def _counts(exits: Counter[int], stages: int) -> list[int]:
    return [exits[stage] for stage in range(stages)]


def _rounded(points: Iterable[float]) -> list[float]:
    return [round(point, 2) for point in points]


def _quantile(points: deque[float], share: float) -> float | None:
    """The smallest point that at least `share` of the points do not exceed."""
    if not points:
        return None
    ordered = sorted(points)
    return round(ordered[math.ceil(share * len(ordered)) - 1], 2)
