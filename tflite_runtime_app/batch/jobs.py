"""Several processes, each with the whole model: they share its memory, as they are forked from one that has loaded it.

The process that starts them hands out frames and takes the answers in; it alone speaks to the sinks, and it ends them when it ends.
"""

from __future__ import annotations

import signal
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from tflite_runtime_app.batch.steps import Outcome, Step, failed
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import AppError, SourceError
from tflite_runtime_app.sources.base import Frame

AT_ONCE = 2  # frames that a process has: the one it looks at, and the next
MOST_WAITING = 32  # answers a process that wait for an earlier frame's

_Place = list[Outcome]  # of one step: empty until it is answered


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A process, the way to it, and the frames it has with the places where their answers go, oldest first."""

    process: ForkProcess
    connection: Connection
    taken: deque[tuple[Frame, _Place]] = field(default_factory=deque)

    def take(self, frame: Frame) -> _Place:
        place: _Place = []
        self.taken.append((frame, place))
        try:
            self.connection.send(frame)
        except OSError:
            raise _died(self) from None
        return place

    def receive(self) -> None:
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise _died(self) from None
        if isinstance(answer, BaseException):
            raise answer
        self.taken.popleft()[1].append(answer)


class Jobs:
    """`count` processes with `classifier`, which runs on one thread: others would stay behind in a fork. No thread of ours may run yet.

    Results come with their image only where `images` are wanted. To be closed. Raises OSError when a process cannot be started.
    """

    def __init__(self, classifier: Classifier, count: int, images: bool) -> None:
        self._workers: list[_Worker] = []
        context = get_context("fork")
        try:
            for _ in range(count):
                here, there = context.Pipe()
                inherited = [here, *(worker.connection for worker in self._workers)]
                process = context.Process(target=_work, args=(there, inherited, classifier, images), daemon=True)
                with warnings.catch_warnings():  # of threads in this process: numpy's, which know what a fork is
                    warnings.simplefilter("ignore", DeprecationWarning)
                    process.start()
                there.close()
                self._workers.append(_Worker(process, here))
        except BaseException:
            self.close()
            raise

    def outcomes(self, steps: Iterable[Step]) -> Generator[Outcome, None, None]:
        """What became of the steps, in their order. Raises AppError when a process dies."""
        places: deque[_Place] = deque()
        for step in steps:
            if isinstance(step, Frame):
                while (worker := self._free()) is None or len(places) >= MOST_WAITING * len(self._workers):
                    self._receive()
                    yield from _answered(places)
                places.append(worker.take(step))
            else:
                places.append([step])
            yield from _answered(places)
        while places:
            self._receive()
            yield from _answered(places)

    def close(self) -> None:
        """The processes are gone, whatever they were at."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.process.close()
        self._workers = []

    def _free(self) -> _Worker | None:
        """The process with the fewest frames, None where each has as many as it may have."""
        worker = min(self._workers, key=lambda worker: len(worker.taken))
        return worker if len(worker.taken) < AT_ONCE else None

    def _receive(self) -> None:
        """One answer or more are in their places."""
        ready = wait([worker.connection for worker in self._workers])
        for worker in self._workers:
            if worker.connection in ready:
                worker.receive()


def _answered(places: deque[_Place]) -> Iterator[Outcome]:
    """The answers up to the first that is not there yet, taken out of `places`."""
    while places and places[0]:
        yield places.popleft()[0]


def _died(worker: _Worker) -> AppError:
    worker.process.join(1)
    code = worker.process.exitcode
    how = "ended" if code is None or code >= 0 else f"was killed by {signal.Signals(-code).name}"
    at = f" with {worker.taken[0][0].source} before it" if worker.taken else ""
    return AppError(f"a process of --jobs {how}{at}, perhaps for want of memory; start again with fewer --jobs")


def _work(connection: Connection, inherited: list[Connection], classifier: Classifier, images: bool) -> None:
    """The process: frames in, answers out, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the one that started this one ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:  # held open here, they would not tell their processes that the one that started them is gone
        other.close()
    try:
        while True:
            frame = connection.recv()
            connection.send(_outcome(classifier, frame, images))
    except (EOFError, OSError):
        return


def _outcome(classifier: Classifier, frame: Frame, images: bool) -> Outcome | Exception:
    try:
        result = classifier.classify(frame)
    except SourceError as error:
        return failed(frame, error)
    except Exception as error:
        return RuntimeError(f"{frame.source}: {type(error).__name__}: {error}")
    return result if images else replace(result, image=None)
