"""The loop that runs for months: the newest frame, its answer, a word to every sink; after a frame that fails comes the next.

A model that fails on one frame after the other is given up for the last good one, where there is one (`Previous`).
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence

from tflite_runtime_app import board
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import BUILD_AGAIN, AppError, BundleIncompatible, InferenceError, SourceError
from tflite_runtime_app.live.control import Control
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.sinks.base import Failure, Result, Sink, Status, label_of
from tflite_runtime_app.sources.base import Frame, too_old
from tflite_runtime_app.sources.feed import Feed

WAIT = 0.2  # seconds for a frame; wishes from other threads wait no longer than that
STATUS_EVERY = 1.0
THROTTLED_EVERY = 10.0  # asking takes a process of its own
MOST_IN_A_ROW = 5  # frames that the model may fail on with no answer between: more are no odd frames, the model does not do here

Previous = Callable[[], tuple[Classifier, str]]  # the last good model with its labels, and its notice; raises AppError for none


class Loop:
    """One feed through one classifier to all sinks, until the feed ends, `frames` were answered, or a signal raises.

    systemd's watchdog hears of a frame only after it was really inferred: a source that hangs, a stuck interpreter and a dead loop all look
    alike to it. `changed` gives new labels, None for none (a watched file); `control` is what other threads ask. `previous` is asked once,
    when the model has failed on `MOST_IN_A_ROW` frames in a row. `boot_clock` is the one that frames grow old by.
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
        previous: Previous | None = None,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
        boot_clock: Callable[[], float] = board.clock,
    ) -> None:
        self._feed, self._classifier, self._sinks = feed, classifier, tuple(sinks)
        self._control, self._smoother, self._changed = control or Control(), smoother, changed
        self._notifier, self._clock, self._boot_clock = notifier or Notifier(), clock, boot_clock
        self._previous, self._in_a_row = previous, 0
        self._took: deque[float] = deque(maxlen=10)  # seconds of the last answers
        self._start = self._last_status = clock()
        self._last_throttled = -THROTTLED_EVERY
        self._throttled: str | None = None
        self._times: deque[float] = deque(maxlen=300)
        self.answered, self.failed = 0, 0

    def run(self, frames: int | None = None) -> None:
        """Frames are answered until there are no more, or `frames` of them were.

        Raises BundleIncompatible when the model fails on frame after frame and there is no other to go back to.
        """
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
                result = self._answered(frame)
            except SourceError as error:
                self.failed += 1
                self._fail(frame.source, frame.index, error)
                if isinstance(error, InferenceError):
                    self._count_against_the_model(error)
                continue
            self._in_a_row = 0
            if result is None:
                continue
            self.answered += 1
            self._times.append(self._clock())
            if self._smoother is not None:
                result = dataclasses.replace(result, steady=self._smoother(label_of(result)))
            for sink in self._sinks:
                sink.result(result)
            self._notifier.alive()

    def _answered(self, frame: Frame) -> Result | None:
        """The answer; None when this program was stopped meanwhile, so that it comes too late for what it tells of."""
        start = self._boot_clock()
        result = self._classifier.classify(frame)
        end = self._boot_clock()
        usual = max(self._took, default=end - start)  # a large model on a small board takes its time, and that is no fault
        self._took.append(end - start)
        return None if too_old(frame, end - 2 * usual) else result

    def _count_against_the_model(self, error: InferenceError) -> None:
        """One more in the row; at its end the model of before is in its place. Raises BundleIncompatible when there is none."""
        self._in_a_row += 1
        if self._in_a_row < MOST_IN_A_ROW:
            return
        path, self._in_a_row = self._classifier.bundle.path, 0
        why = f"{path}: the model failed on {MOST_IN_A_ROW} frames in a row (the last: {error})"
        if self._previous is None:
            raise BundleIncompatible(f"{why}, and there is no last good one to go back to; {BUILD_AGAIN}") from error
        previous, self._previous = self._previous, None
        try:
            self._classifier, notice = previous()
        except AppError as refusal:
            raise BundleIncompatible(f"{why}, and there is no last good one to go back to: {refusal}") from refusal
        self._took.clear()
        running = f"{why}; from here on the last good one runs: {self._classifier.bundle.path}"
        self._fail("model", 0, BundleIncompatible(running))
        self._tell_labels(notice or f"running the last good model, {self._classifier.bundle.path}")

    def use(self, bank: LabelBank) -> str:
        """These are the labels from now on, and every sink knows. From the loop's own thread only, or by `control`. Raises LabelError."""
        notice = self._classifier.use(bank)
        self._tell_labels(notice)
        return notice

    def _tell_labels(self, notice: str) -> None:
        if self._smoother is not None:
            self._smoother.forget()
        for sink in self._sinks:
            sink.labels(self._classifier.bank.names, notice)

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
