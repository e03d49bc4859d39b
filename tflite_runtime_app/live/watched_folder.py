"""A folder that images are put into: each is looked at once it is whole."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.image_kinds import is_image, left_out, remedy
from tflite_runtime_app.sources.base import Frame
from tflite_runtime_app.sources.feed import Health

POLL = 0.5  # seconds; polling sees network shares too, which tell nobody of new files
_Seen = tuple[int, int]  # size and time of a file


class WatchedFolder:
    """A Feed of the images that appear in `word` from now on, in the order of their names; what lay there before is left alone.

    A file counts as whole when its size and time stand still from one poll to the next. A folder that is gone (a share that was unmounted)
    is waited for. Of images that are not read here `tell` hears once a kind, and how many there were when all is over. Raises SourceError
    when it is not there to begin with, or cannot be read.
    """

    def __init__(
        self,
        word: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        if not os.path.isdir(word):
            raise SourceError(f"--watch {word}: expected a folder, found none; make it first")
        self.word, self._tell = word, tell
        self._left_out: Counter[str] = Counter()  # of images that came and are not read here, by their suffix
        self._clock, self._sleep = clock, sleep
        self._error = ""
        self._known = self._files()
        if self._error:
            raise SourceError(f"--watch {self._error}; give yourself the right to read it")
        self._growing: dict[str, _Seen] = {}
        self._ready: deque[str] = deque()
        self._index, self._polled = 0, clock()
        self._last: float | None = None
        self._open = True

    def next(self, timeout: float) -> Frame | None:
        """The next whole image, None when none comes within `timeout` seconds."""
        until = self._clock() + timeout
        while self._open:
            if not self._ready and self._clock() - self._polled >= POLL:
                self._poll()
            if self._ready:
                path = self._ready.popleft()
                self._index, self._last = self._index + 1, self._clock()
                return Frame.of(path, index=self._index - 1, taken=time.time())
            if self._clock() >= until:
                return None
            self._sleep(min(POLL / 5, max(until - self._clock(), 0.0)))
        return None

    def health(self) -> Health:
        """Waiting is no fault: the folder is `live` while it can be read."""
        age = None if self._last is None else self._clock() - self._last
        return Health("ended" if not self._open else "stalled" if self._error else "live", age=age, error=self._error)

    def close(self) -> None:
        """Nothing is looked for any more."""
        if self._open and self._left_out:
            self._tell(f"{self.word}: {left_out(f'x{kind}' for kind in self._left_out.elements())}")
        self._open = False

    def _poll(self) -> None:
        self._polled = self._clock()
        found = self._files()
        for path, seen in sorted(found.items()):
            if self._known.get(path) == seen:
                continue
            if self._growing.get(path) == seen and seen[0] > 0:
                self._known[path] = seen
                del self._growing[path]
                if remedy(os.path.basename(path)):
                    self._leave_out(os.path.basename(path))
                else:
                    self._ready.append(path)
            else:
                self._growing[path] = seen
        if not self._error:  # what was taken away may come again under its name
            self._known = {path: seen for path, seen in self._known.items() if path in found}
            self._growing = {path: seen for path, seen in self._growing.items() if path in found}

    def _leave_out(self, name: str) -> None:
        kind = os.path.splitext(name)[1].lower()
        if not self._left_out[kind]:
            self._tell(f"{os.path.join(self.word, name)} and others of its kind are left out: {remedy(name)}")
        self._left_out[kind] += 1

    def _files(self) -> dict[str, _Seen]:
        found: dict[str, _Seen] = {}
        try:
            with os.scandir(self.word) as entries:
                for entry in entries:
                    # Of one entry nothing is known: it went away just now, or is a link that leads to itself. The others stand.
                    with suppress(OSError):
                        if (is_image(entry.name) or remedy(entry.name)) and entry.is_file():
                            stat = entry.stat()
                            found[entry.path] = (stat.st_size, stat.st_mtime_ns)
            self._error = ""
        except OSError as error:
            self._error = f"{self.word}: {error.strerror}"
        return found
