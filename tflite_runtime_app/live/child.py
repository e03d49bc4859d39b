"""The process of a live source: started, read without waiting, and killed with all that it started."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tflite_runtime_app.inference.one_blas_thread import ENVIRONMENT
from tflite_runtime_app.sources.address import hide_credentials, shown
from tflite_runtime_app.sources.base import CaptureOptions

PIPE_BYTES = 1 << 20  # what Linux lets anyone have: a whole frame goes through in few steps
TAIL_BYTES = 4096
LINE_LENGTH = 300


def capture_command(word: str, options: CaptureOptions) -> list[str]:
    """The program that is a source's process; `Child` gives it the whole `word`, which may hold a password, in its environment.

    -P: a file in the current folder must not stand in for a library's.
    """
    size = ["--width", str(options.width), "--height", str(options.height), "--rate", repr(float(options.rate))]
    return [sys.executable, "-P", "-m", "tflite_runtime_app.live.capture", *size, "--", shown(word)]


class Child:
    """A running process in a session of its own; it ends by itself when this one is gone. Raises OSError when it cannot be started.

    `word` stands in its environment only: every user of the machine can read a command line.
    """

    def __init__(self, command: Sequence[str], stdin: int | None, word: str) -> None:
        # The end of this pipe that stays here is closed with this process, however it ends; the child sees that and goes too.
        lifeline, self._lifeline = os.pipe()
        # Found as this process finds it, from whatever folder and installation it was started.
        environment = {
            **ENVIRONMENT,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(_search_path()),
            "CAPTURE_LIFELINE": str(lifeline),
            "CAPTURE_WORD": word,
        }
        try:
            self._process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=environment,
                start_new_session=True, pass_fds=(lifeline,),
            )  # fmt: skip
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        assert self._process.stdout is not None and self._process.stderr is not None
        self.out, self.errors = self._process.stdout, self._process.stderr
        self.ending = os.pidfd_open(self._process.pid)  # readable once the process has ended
        self._tail, self._talks = b"", True
        for stream in (self.out, self.errors):
            os.set_blocking(stream.fileno(), False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def pid(self) -> int:
        """Its process id, also that of its group."""
        return self._process.pid

    def read_into(self, space: memoryview) -> int | None:
        """How many bytes of its standard output now lie in `space`; 0 at the end, None when there are none for now."""
        try:
            return os.readv(self.out.fileno(), [space])
        except BlockingIOError:
            return None

    def others(self) -> list[int]:
        """What becomes readable beside `out`: when it writes to standard error, and when it has ended."""
        return [self.ending, *([self.errors.fileno()] if self._talks else [])]

    def hear(self) -> None:
        """What the process has written to standard error so far is in `last_line`."""
        while data := self.errors.read(TAIL_BYTES):
            self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._talks = data is None  # else it was the end

    @property
    def last_line(self) -> str:
        """The last line it wrote to standard error, without credentials; empty for none."""
        lines = [" ".join(line.split()) for line in self._tail.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return hide_credentials("".join(letter for letter in last if letter.isprintable()))[:LINE_LENGTH]

    def wait(self, seconds: float) -> int | None:
        """Its exit code as soon as it has ended, None when it has not within `seconds`."""
        if readable([self.ending], seconds):
            self.kill()  # what it started may live on; while it is not waited for, nobody else can have its number
            return self._process.wait()
        return None

    def kill(self) -> None:
        """SIGKILL has gone to it and to all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Its pipes are closed, whether it has ended or not."""
        self.out.close()
        self.errors.close()
        os.close(self.ending)
        os.close(self._lifeline)


def _search_path() -> Iterator[str]:
    """Where this process finds modules, but for a working folder that is gone."""
    for path in sys.path:
        with contextlib.suppress(FileNotFoundError):
            yield os.path.abspath(path)


def readable(files: Sequence[int], seconds: float) -> set[int]:
    """Those of `files` that can be read, as soon as there is one; none after `seconds`, which may be infinite."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    milliseconds = None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))
    return {file for file, _ in poll.poll(milliseconds)}


def why_ended(code: int | None, last_line: str) -> str:
    """Why a process ended with `code`, in one line; `last_line` is what it said last."""
    if code is None:
        return "its process closed its pipe and did not end"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; out of memory? see dmesg | grep -i oom" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{hint}" + (f"; it said last: {last_line}" if last_line else "")
    if code == 0:
        return "the source ended"
    return last_line or f"its process ended with code {code}"
