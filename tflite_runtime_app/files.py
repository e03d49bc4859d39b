"""Files that appear whole or not at all, and where the program remembers things."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes, mode: int = 0o666) -> None:
    """The file at `path` holds `data`, whole or not at all. Raises OSError when it cannot be written; what lay there then stays.

    It has `mode` less the process's umask from its first byte on: nobody else can have opened what is secret.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # in the same folder: os.replace must not cross file systems
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # boards lose their power: the name must not point at blocks that were never written
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
