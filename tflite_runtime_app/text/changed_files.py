"""Whether files have changed, looked at now and then: no thread, no library, and patient with an editor in the middle of writing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

State = tuple[tuple[int, int, int] | None, ...]


class ChangedFiles:
    """Some files as they were at the start, or when a change was last reported."""

    def __init__(self, paths: Sequence[Path], every: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._every, self._clock = tuple(paths), every, clock
        self._reported = self._seen = self._state()
        self._next = clock() + every

    def changed(self) -> bool:
        """True once for each change, and only when the files were the same at two looks, `every` seconds or more apart."""
        if not self._paths or self._clock() < self._next:
            return False
        self._next = self._clock() + self._every
        before, self._seen = self._seen, self._state()
        if self._seen == self._reported or self._seen != before:
            return False
        self._reported = self._seen
        return True

    def _state(self) -> State:
        return tuple(_state(path) for path in self._paths)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
