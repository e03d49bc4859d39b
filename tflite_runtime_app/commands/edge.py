"""Where a program meets its system: standard streams that may be closed or full, and what the system refuses, in one line.

Both programs use it, so that neither ends with a traceback because of a disk, a limit or a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

_NO_PROCESS = (
    "no further process or thread may be started here (ulimit -u, TasksMax), or there is no memory for one; "
    "end other programs and try again"
)
_NO_MEMORY = "there is not enough memory; end other programs, or take a smaller model or smaller images"
_REASONS = {
    errno.ENOSPC: "no space left; make room, or send them elsewhere",
    errno.EDQUOT: "your quota is used up; make room, or send them elsewhere",
    errno.EFBIG: "more than this process may write into one file (ulimit -f); raise the limit, or send them elsewhere",
    errno.EIO: "the device or terminal fails or is gone; send them elsewhere",
    errno.EBADF: "the stream is closed; open it, or send them elsewhere",
    errno.EROFS: "it lies on a file system that is read-only; name another place",
    errno.EACCES: "permission denied; change its rights, or name another place",
    errno.EPERM: "the system does not permit it; change its rights, or name another place",
    errno.ENOENT: "no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is no folder; check the path",
    errno.EISDIR: "it is a folder; name a file",
    errno.ELOOP: "too many symbolic links; check the path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EAGAIN: _NO_PROCESS,
    errno.ENOMEM: _NO_MEMORY,
    errno.EMFILE: "too many files are open (ulimit -n); raise the limit",
    errno.ENFILE: "too many files are open on this machine; end other programs and try again",
}
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def prepare_streams() -> None:
    """All three standard streams are open, and the two for output print what their encoding lacks escaped.

    One that was closed (`>&-`) is like /dev/null from here on: else the next file that is opened would get its number.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                _fill(number)
                setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fill(number: int) -> None:
    """Descriptor `number` is open: /dev/null where it was closed."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)


def flush_stdout() -> None:
    """What was printed is out. Raises OSError when nobody takes it."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_streams() -> None:
    """What is still buffered goes out, or nowhere: Python's own flush at exit finds nothing to complain of."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):  # a captured stream has no file number, and no pipe either
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def say(line: str) -> None:
    """The line stands on standard error, if anybody listens there."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def refused_by_the_system(error: BaseException) -> str:
    """`error` in one line where it is the system that refused something, "" where it is a fault of the program's own."""
    if isinstance(error, MemoryError):
        return _NO_MEMORY
    if isinstance(error, RuntimeError):
        said = str(error)
        if "start new thread" in said:
            return _NO_PROCESS
        if "alloc" in said and "memory" in said:  # torch's DefaultCPUAllocator
            return _NO_MEMORY
        if "inline_container" in said or "PytorchStreamWriter" in said:  # torch's own writer, which tells no reason
            return "a file could not be written whole; make room, also where temporary files lie (TMPDIR), or raise ulimit -f"
        return "HOME names no folder; set it" if "home directory" in said else ""
    if not isinstance(error, OSError):
        return ""
    if error.errno is None:
        return " ".join(str(error).split())
    reason = _REASONS.get(error.errno, error.strerror or os.strerror(error.errno))
    if error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str | os.PathLike) else str(error.filename)
        return f"{name}: {reason}"
    if error.errno in _OF_WRITING:
        return f"the answers cannot be written: {reason}"
    if error.errno == errno.ENOENT:
        return "the working folder is gone; change into one that exists"
    return reason
