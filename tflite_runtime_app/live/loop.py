"""The loop that runs for months: the newest frame, its answer, a word to every sink; after a frame that fails comes the next."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence

from tflite_runtime_app import board
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import AppError, SourceError
from tflite_runtime_app.live.control import Control
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.sinks.base import Failure, Sink, Status, label_of
from tflite_runtime_app.sources.feed import Feed

WAIT = 0.2  # seconds for a frame; wishes from other threads wait no longer than that
STATUS_EVERY = 1.0
THROTTLED_EVERY = 10.0  # asking takes a process of its own


class Loop:
    """One feed through one classifier to all sinks, until the feed ends, `frames` were answered, or a signal raises.

    systemd's watchdog hears of a frame only after it was really inferred: a source that hangs, a stuck interpreter and a dead loop all look
    alike to it. `changed` gives new labels, None for none (a watched file); `control` is what other threads ask.
    """

    def __init__(
        self,
        feed: Feed,
        classifier: Classifier,
        sinks: Sequence[Sink],
        control: Control | None = None,
        smoother: Smoother | None = None,
        *,
        changed: Callable[[], LabelBank | None] | None = None,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed, self._classifier, self._sinks = feed, classifier, tuple(sinks)
        self._control, self._smoother, self._changed = control or Control(), smoother, changed
        self._notifier, self._clock = notifier or Notifier(), clock
        self._start = self._last_status = clock()
        self._last_throttled = -THROTTLED_EVERY
        self._throttled: str | None = None
        self._times: deque[float] = deque(maxlen=300)
        self.answered, self.failed = 0, 0

    def run(self, frames: int | None = None) -> None:
        """Frames are answered until there are no more, or `frames` of them were."""
        self._notifier.ready()
        try:
            self._run(frames)
            self._say_status()
        finally:
            self._notifier.stopping()

    def _run(self, frames: int | None) -> None:
        while frames is None or self.answered < frames:
            self._between()
            frame = self._feed.next(WAIT)
            if frame is None:
                if self._feed.health().state == "ended":
                    return
                continue
            try:
                result = self._classifier.classify(frame)
            except SourceError as error:
                self.failed += 1
                self._fail(frame.source, frame.index, error)
                continue
            self.answered += 1
            self._times.append(self._clock())
            if self._smoother is not None:
                result = dataclasses.replace(result, steady=self._smoother(label_of(result)))
            for sink in self._sinks:
                sink.result(result)
            self._notifier.alive()

    def use(self, bank: LabelBank) -> str:
        """These are the labels from now on, and every sink knows. From the loop's own thread only, or by `control`. Raises LabelError."""
        notice = self._classifier.use(bank)
        if self._smoother is not None:
            self._smoother.forget()
        for sink in self._sinks:
            sink.labels(bank.names, notice)
        return notice

    def status(self) -> Status:
        """How the loop is doing."""
        now = self._clock()
        recent = [when for when in self._times if now - when <= 10]
        fps = len(recent) / max(min(10.0, now - self._start), 0.1)
        if now - self._last_throttled >= THROTTLED_EVERY:
            self._last_throttled, self._throttled = now, board.throttled()
        return Status(
            seconds=now - self._start,
            frames=self.answered,
            fps=fps,
            health=self._feed.health(),
            memory=board.memory_bytes(),
            celsius=board.celsius(),
            throttled=self._throttled,
        )

    def _between(self) -> None:
        """What is due between two frames."""
        self._control.serve()
        if self._changed is not None:
            try:
                bank = self._changed()
                if bank is not None:
                    self.use(bank)
            except AppError as error:
                self._fail("labels", 0, error)
        now = self._clock()
        if now - self._last_status >= STATUS_EVERY:
            self._last_status = now
            self._say_status()

    def _say_status(self) -> None:
        status = self.status()
        for sink in self._sinks:
            sink.status(status)
        health = status.health
        self._notifier.status(f"{health.state}, {status.fps:.1f} frames a second, {health.restarts} restarts {health.error}")

    def _fail(self, source: str, frame: int, error: AppError) -> None:
        for sink in self._sinks:
            sink.failure(Failure(source, frame, str(error)))
