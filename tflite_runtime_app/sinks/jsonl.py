"""One JSON object a line, for programs; nothing else goes to that stream."""

from __future__ import annotations

import json
from typing import Any, TextIO

from tflite_runtime_app.sinks.base import Failure, Result, Sink


class JsonLinesSink(Sink):
    """Results and failures as JSON lines on `out`, each flushed at once. Pure ASCII, whatever the terminal's encoding.

    A live source's frames have "taken" too, seconds since 1970, and with smoothing "steady".
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def result(self, result: Result) -> None:
        value = {
            "source": result.source,
            "frame": result.frame,
            "top": [
                {"label": match.label, "score": round(match.probability, 6), "cosine": round(match.cosine, 6)}
                for match in result.answer.top
            ],
            "none": result.answer.none,
            "like": result.answer.like,
            "sure": result.answer.sure,
            "exit": result.exit,
            "block": result.block,
            "macs": result.macs,
            "ms": round(result.ms, 3),
            "stages_ms": [round(ms, 3) for ms in result.stages_ms],
        }
        if result.taken is not None:
            value["taken"] = round(result.taken, 3)
        if result.steady is not None:
            value["steady"] = result.steady
        self._write(value)

    def failure(self, failure: Failure) -> None:
        self._write({"source": failure.source, "frame": failure.frame, "error": failure.error})

    def close(self) -> None:
        self._out.flush()

    def _write(self, value: dict[str, Any]) -> None:
        print(json.dumps(value), file=self._out, flush=True)
