"""Files that appear whole or not at all, and where the program remembers things."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The regular file at `path`, open for reading.

    Raises OSError at once for anything else that may lie there: opening a pipe waits for a writer, opening a device may set it going.
    """
    _refuse_others(os.stat(path).st_mode, path)
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no waiting, should it have become a pipe just now
    try:
        _refuse_others(os.fstat(number).st_mode, path)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The bytes of the regular file at `path`. Raises OSError, at once for a pipe, a socket, a device or a folder."""
    with open_regular(path) as file:
        return file.read()


def what_it_is(path: str | os.PathLike[str]) -> str:
    """What lies at `path` in place of a regular file, as in "a named pipe"; empty for a file, and where nothing is."""
    try:
        return _kind(os.stat(path).st_mode)
    except (OSError, ValueError):
        return ""


def _refuse_others(mode: int, path: str | os.PathLike[str]) -> None:
    kind = _kind(mode)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if kind:
        raise OSError(errno.EINVAL, kind, os.fspath(path))


def _kind(mode: int) -> str:
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def write_atomically(path: str | os.PathLike[str], data: bytes, mode: int = 0o666) -> None:
    """The file at `path` holds `data`, whole or not at all. Raises OSError when it cannot be written; what lay there then stays.

    It has `mode` less the process's umask from its first byte on: nobody else can have opened what is secret.
    """
    path = Path(path)
    check_target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # in the same folder: os.replace must not cross file systems
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # boards lose their power: the name must not point at blocks that were never written
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        # Writing names no file, and the temporary one's name tells nobody anything.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str]) -> None:
    """Returns when a file may be written at `path`, as far as that shows beforehand: its folder takes files, and nothing odd lies there.

    Raises OSError, so that an hour's work need not be done to find it out. A pipe or a device would be replaced by a file.
    """
    path = Path(path)
    kind = what_it_is(path)
    if kind:
        raise OSError(errno.EISDIR if kind == "a folder" else errno.EINVAL, f"it is {kind}", str(path))
    folder = os.stat(path.parent)
    if not stat.S_ISDIR(folder.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def cache_folder(name: str) -> Path:
    """$XDG_CACHE_HOME/clip-rescue/NAME, by default below ~/.cache; it need not be there."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".cache"
    return base / "clip-rescue" / name


def is_file(word: str) -> bool:
    """Whether a word from outside is the path of a file; one that cannot be a path is none."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # longer than a file name may be, or with a zero byte in it
        return False
