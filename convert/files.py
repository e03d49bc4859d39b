"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from convert.errors import UsageError


def write_atomically(path: Path, content: bytes) -> None:
    """`path` holds `content`; until then it holds what it held before. Its folder is made if need be."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
