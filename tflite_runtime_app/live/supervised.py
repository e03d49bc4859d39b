"""A live source in a process of its own that is watched, killed when it hangs, and started anew. Never waits for anything that may hang."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from functools import partial

from tflite_runtime_app import board
from tflite_runtime_app.live.child import Child, capture_command, readable, why_ended
from tflite_runtime_app.live.decode import decoded
from tflite_runtime_app.live.liveness import Liveness
from tflite_runtime_app.live.patience import Backoff, Patience
from tflite_runtime_app.live.slot import Slot
from tflite_runtime_app.live.wire import Reader, WireError
from tflite_runtime_app.sources.address import shown
from tflite_runtime_app.sources.base import CaptureOptions, Frame, Nature, Shot
from tflite_runtime_app.sources.feed import Health, State

CLOSING = 0.8  # seconds that `close` waits for the thread; what hangs longer is left to end with the program


class SupervisedFeed:
    """A Feed of the source that `word` names; see `Feed` for its methods.

    One thread does it all: it starts the process, reads its two pipes, judges it by `Liveness`, kills and restarts it. What is "finite" is
    read only as fast as it is looked at, and never started again; all else is dropped once it is older than a stall may last.
    `abandoned` counts processes that outlived SIGKILL, in a driver that never returns; `command` stands in for the source's process.
    """

    def __init__(
        self, word: str, options: CaptureOptions, nature: Nature, patience: Patience, command: Sequence[str] | None = None
    ) -> None:
        self.word = word
        self.abandoned = 0
        self._shown, self._nature, self._patience = shown(word), nature, patience
        self._command = list(command or capture_command(word, options))
        self._bell, self._ringer = socket.socketpair()  # wakes the thread
        self._slot = Slot(self._ring)
        self._closing = self._failing = False
        self._restarts = self._index = 0
        self._error = ""
        self._fresh: float | None = None
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"source {self._shown}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no further thread is to be had
            self._bell.close()
            self._ringer.close()
            raise

    def next(self, timeout: float) -> Frame | None:
        """The newest frame that was not given yet, None when none comes within `timeout` seconds or the feed has ended."""
        return self._slot.take(timeout)

    def health(self) -> Health:
        """How the source is doing, at once and from any thread."""
        fresh = self._fresh
        age = None if fresh is None else time.monotonic() - fresh
        return Health(self._state(age), self._restarts, self._slot.dropped, age, self._error)

    def close(self) -> None:
        """Within a second nothing of the source is left, however badly it hangs."""
        self._closing = True
        self._slot.end()
        self._ring()
        self._thread.join(CLOSING)

    def _state(self, age: float | None) -> State:
        if self._slot.through:
            return "ended"
        if age is None:
            return "starting"
        late = age > self._patience.stall and not self._slot.full  # a full slot waits for whoever looks, not for the source
        return "stalled" if self._failing or late else "live"

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody is there any more
            self._ringer.send(b"!")

    def _run(self) -> None:
        backoff, tries = Backoff(self._patience), 0
        before: bytes | bytearray = b""
        try:
            while not self._closing:
                liveness = Liveness(self._nature, self._patience, time.monotonic(), before)
                code, reason = self._one_process(liveness)
                tries += 1
                if self._closing or (self._nature == "finite" and code == 0):
                    return
                self._failing, self._error = True, reason if reason.startswith(self._shown) else f"{self._shown}: {reason}"
                hopeless = self._fresh is None and (code == 2 or tries >= self._patience.tries)
                if self._nature == "finite" or hopeless:
                    return
                self._pause(backoff.delay(liveness.fresh_for))
                before = liveness.last or before
                self._restarts += not self._closing
        except Exception as error:  # a fault of our own must show, not leave a loop waiting for ever
            self._error = f"internal error: {type(error).__name__}: {error}"
        finally:
            self._slot.end()
            self._bell.close()
            self._ringer.close()

    def _one_process(self, liveness: Liveness) -> tuple[int | None, str]:
        """One process from start to end: its exit code where it ended by itself, and what was wrong."""
        try:
            child = Child(self._command, None if self._nature == "finite" else subprocess.DEVNULL, self.word)
        except OSError as error:
            return None, f"its process cannot be started: {error}"
        try:
            reason = self._attend(child, liveness)
            code = None if reason or self._closing else child.wait(self._patience.grace)
            if code is None:
                child.kill()
                if child.wait(self._patience.grace) is None:
                    self.abandoned += 1
                    reason += f"; {self.abandoned} of its processes cannot be killed, only a reboot helps"
            child.hear()
            if not reason:
                return code, why_ended(code, child.last_line)
            return None, f"{reason}; its process said last: {child.last_line}" if child.last_line else reason
        finally:
            child.close()

    def _attend(self, child: Child, liveness: Liveness) -> str:
        """Reads `child` until it is through or this feed closes (then ""), or until it is at fault: then what it did."""
        reader, ended, bell = Reader(), False, self._bell.fileno()
        while not self._closing:
            full = self._nature == "finite" and self._slot.full
            listening = [bell, *([] if full else [child.out.fileno()]), *([] if ended else child.others())]
            until = time.monotonic() if ended and not full else liveness.deadline
            ready = readable(listening, until - time.monotonic())
            if bell in ready:
                self._bell.recv(64)
            child.hear()
            try:
                more = full or self._read(child, reader, liveness)
            except WireError as error:
                return str(error)
            if not more or (ended and not full and child.out.fileno() not in ready):
                return "" if reader.empty else "its process ended in the middle of a frame"
            ended = ended or child.ending in ready
            if fault := liveness.fault(time.monotonic()):
                return fault
        return ""

    def _read(self, child: Child, reader: Reader, liveness: Liveness) -> bool:
        """What has come is in the slot; False when no more can come."""
        while not (self._closing or (self._nature == "finite" and self._slot.full)):
            count = child.read_into(reader.space())
            if not count:  # None: nothing there for now; 0: the end
                return count is None
            shot = reader.filled(count)
            if shot is not None:
                self._offer(shot, liveness)
                if self._nature != "finite":
                    return True  # the bell, standard error and the clock get their turn, however fast frames come
        return True

    def _offer(self, shot: Shot, liveness: Liveness) -> None:
        now, clock = time.monotonic(), board.clock()
        stamp = min(shot.stamp, clock)  # nothing is taken later than now
        if not liveness.see(shot, now, clock - stamp):
            return
        self._fresh, self._failing, self._error = now, False, ""
        until = None if self._nature == "finite" else stamp + self._patience.stall
        load = partial(decoded, shot, self._shown)
        self._slot.put(Frame(self._shown, self._index, load, shot.taken, until, load))
        self._index += 1

    def _pause(self, seconds: float) -> None:
        """`seconds` have passed, or this feed closes."""
        until = time.monotonic() + seconds
        while not self._closing and (left := until - time.monotonic()) > 0:
            if readable([self._bell.fileno()], left):
                self._bell.recv(64)
