"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from convert.support.errors import UsageError
from tflite_runtime_app import files


def write_atomically(path: Path, content: bytes) -> None:
    """`path` holds `content`; until then it holds what it held before. Its folder is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(path, content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def check_target(path: Path, option: str = "--out") -> None:
    """Returns when `path` may be written, as far as that shows before the work, its folder being made if need be. Raises UsageError."""
    there = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    try:
        files.check_target(path if path.absolute().parent == there else there / path.name)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}; name another place") from error
