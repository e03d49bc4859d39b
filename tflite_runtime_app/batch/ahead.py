"""One process, and a thread that decodes the next image while the model looks at this one: neither holds Python's lock at that."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice

from tflite_runtime_app import board
from tflite_runtime_app.batch.steps import Outcome, Step, failed
from tflite_runtime_app.classifier import Classifier, Prepared
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sinks.base import Failure
from tflite_runtime_app.sources.base import Frame

AHEAD = 1  # images that wait, decoded: one of a telephone takes 36 MB, another is being decoded, and a board has little memory

_Ready = Prepared | Failure | str


def outcomes(classifier: Classifier, steps: Iterable[Step]) -> Generator[Outcome, None, None]:
    """What became of the steps, in their order; to be closed by who does not take them all. Raises what is no image's fault."""
    steps = iter(steps)
    first = list(islice(steps, 2))
    if len(first) < 2 or board.usable_processors() < 2:
        ready = (_prepared(classifier, step) for step in chain(first, steps))
        yield from (_answered(classifier, one) for one in ready)
        return
    reader = _Reader(classifier, chain(first, steps))
    try:
        while (one := reader.next()) is not None:
            yield _answered(classifier, one)
    finally:
        reader.close()


def _prepared(classifier: Classifier, step: Step) -> _Ready:
    if not isinstance(step, Frame):
        return step
    try:
        return classifier.prepared(step)
    except SourceError as error:
        return failed(step, error)


def _answered(classifier: Classifier, one: _Ready) -> Outcome:
    if not isinstance(one, Prepared):
        return one
    try:
        return classifier.answered(one)
    except SourceError as error:
        return failed(one.frame, error)


class _Reader:
    """The thread; it ends with the steps, or with `close`."""

    def __init__(self, classifier: Classifier, steps: Iterator[Step]) -> None:
        self._classifier, self._steps = classifier, steps
        self._queue: queue.Queue[_Ready | BaseException | None] = queue.Queue(AHEAD)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)
        self._thread.start()

    def next(self) -> _Ready | None:
        """The next step, its frame prepared; None behind the last. Raises what the thread met."""
        one = self._queue.get()
        if isinstance(one, BaseException):
            raise one
        return one

    def close(self) -> None:
        """The thread is gone, as soon as it has decoded what it is at."""
        self._closing = True
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue

    def _run(self) -> None:
        try:
            for step in self._steps:
                if self._closing:
                    return
                self._queue.put(_prepared(self._classifier, step))
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)
