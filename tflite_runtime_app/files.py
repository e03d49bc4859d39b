"""Files that appear whole or not at all, and what the program remembers between two runs."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tflite_runtime_app.errors import UsageError

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


_NOWHERE = Path(os.devnull)  # nothing lies below it, and nothing can be put there
_STALE = 3600.0  # seconds after which a half file belongs to nobody: no file here takes that long


def write_atomically(path: str | os.PathLike[str], data: bytes, mode: int = 0o666) -> None:
    """The file at `path` holds `data`, whole or not at all. Raises OSError when it cannot be written; what lay there then stays.

    It has `mode` less the process's umask from its first byte on: nobody else can have opened what is secret. What a process that was
    killed over the same file left behind an hour ago or more is gone afterwards.
    """
    path = Path(path)
    check_target(path)
    # In the same folder: os.replace must not cross file systems. Process ids come again, after a boot and in containers.
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
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
    _remove_stale(path)


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


def _remove_stale(path: Path) -> None:
    half = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if half.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
                os.unlink(entry.path)


def cache_folder(name: str) -> Path:
    """$XDG_CACHE_HOME/clip-rescue/NAME, by default below ~/.cache; it need not be there, nor be of any use: see `recalled`.

    Without a home it is a place where nothing can lie.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")  # "~" itself for a user whom the system does not know, as in containers
    base = Path(given) if os.path.isabs(given) else Path(home) / ".cache" if os.path.isabs(home) else _NOWHERE
    return base / "clip-rescue" / name


def recalled(path: Path) -> bytes | None:
    """What `remember` put at `path` below a cache folder; None where there is nothing, and for whatever reason it cannot be had.

    What belongs to another user, or lies where everybody may write, is nothing: whoever put it there could have a model let in, for
    example. Never raises.
    """
    try:
        if not _trusted(path.parent):
            return None
        with open_regular(path) as file:
            return file.read() if os.fstat(file.fileno()).st_uid in (0, os.geteuid()) else None
    except (OSError, ValueError):
        return None


def remember(path: Path, data: bytes, most: int) -> None:
    """`recalled` gives `data` for `path`, and of its folder's files only the `most` newest are left; or nothing happens. Never raises."""
    with suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _trusted(path.parent):
            return
        write_atomically(path, data)
        files = sorted((file.stat().st_mtime_ns, file) for file in path.parent.iterdir() if not file.name.startswith("."))
        for _, old in files[:-most]:
            old.unlink()


def _trusted(folder: Path) -> bool:
    """Whether `folder` is a folder of this user's, or root's, that not everybody may write to. Raises OSError."""
    found = os.stat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH


def is_file(word: str) -> bool:
    """Whether a word from outside is the path of a file; one that cannot be a path is none."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # longer than a file name may be, or with a zero byte in it
        return False


@contextmanager
def writing(option: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, what the system refuses to write is a UsageError that names the option."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{option} {os.fspath(path)} cannot be written: {error.strerror or error}; name another file, or make room"
        ) from error
