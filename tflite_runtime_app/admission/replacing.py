"""What stands beside a bundle that is replaced: the last good one, and half files of an installation that was killed.

Whoever installs holds the folder's lock, which the kernel takes away from the dead. So whatever half file is there when the lock is had
belongs to nobody.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tflite_runtime_app.admission.signing import SUFFIX

PREVIOUS, HALF = ".previous", ".new"


def previous_path(path: Path) -> Path:
    """Where the last good file is kept when `path` is replaced."""
    return path.with_name(f"{path.name}{PREVIOUS}")


def half_path(path: Path) -> Path:
    """Where a file lies until it takes the place of `path`."""
    return path.with_name(f".{path.name}{HALF}")


@contextmanager
def installing(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Nobody else installs into the folder of `file`, and nothing is left there of those who were killed.

    `waiting` is called when somebody else is at it. Raises OSError when there is no such folder, or when it cannot be locked.
    """
    with _folder(file) as folder:
        if not _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            waiting()
            _lock(folder, fcntl.LOCK_EX)
        _remove_halves(file)
        yield


def remove_leftovers(file: Path) -> None:
    """Half files beside `file` are gone, unless somebody installs there now, or they cannot be removed."""
    with suppress(OSError):
        if any(_halves(file)):
            with _folder(file) as folder:
                if _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    _remove_halves(file)


@contextmanager
def _folder(file: Path) -> Iterator[int]:
    """The folder of `file`, opened; closing it gives its lock back. The folder is what is locked, so that no lock file stays."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)


def _lock(folder: int, how: int) -> bool:
    """Whether the lock was had. Some file systems (NFS, some of FUSE) lock no folders; there nobody else is waited for."""
    try:
        fcntl.flock(folder, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
    return True


def _halves(file: Path) -> Iterator[Path]:
    """Files of an installation that are not in their place yet; older programs put their process id into the names."""
    signed = f"(?:{re.escape(SUFFIX)})?"
    kept = f"(?:{re.escape(PREVIOUS)})?"
    name = re.compile(rf"\.{re.escape(file.name)}{kept}{signed}(?:\.\d+)?{re.escape(HALF)}{signed}")
    with os.scandir(file.parent) as entries:
        yield from [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]


def _remove_halves(file: Path) -> None:
    for half in _halves(file):
        half.unlink(missing_ok=True)
