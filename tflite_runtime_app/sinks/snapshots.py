"""Images of chosen labels, kept in a folder that never grows beyond its budget."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sinks.base import Result, Sink, label_of

EVERY = 5.0  # seconds between two images of one label, at least
BUDGET = 200 * 10**6  # bytes
QUALITY = 85
REPORT_EVERY = 60.0  # seconds between two complaints
_OURS = re.compile(r"clip_\d{8}T\d{6}\.\d{3}Z_\d{4}_[\w-]*\.jpg")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class SnapshotSink(Sink):
    """A JPEG for each of `labels` (all but none of these, where empty) when it is the answer, at most one every `every` seconds each.

    The oldest go when the folder's images come to more than `budget` bytes, or when the disk is full; other files are never touched.
    What cannot be written is reported, at most once a minute, and stops nothing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        labels: tuple[str, ...] = (),
        budget: int = BUDGET,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._budget, self._every, self._clock = Path(folder), budget, every, clock
        self._wanted = frozenset(label.casefold() for label in labels)
        self._saved: dict[str, float] = {}
        self._number, self._reported = 0, -REPORT_EVERY
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._kept = self._listed()
        except OSError as error:
            raise UsageError(f"--snapshots {folder}: expected a folder to write to, found: {error.strerror}") from error

    def result(self, result: Result) -> None:
        label, now = label_of(result), self._clock()
        wanted = label.casefold() in self._wanted if self._wanted else label not in ("", "none")
        if not wanted or result.image is None or now - self._saved.get(label, -self._every) < self._every:
            return
        self._saved[label] = now
        if len(self._saved) > 1000:  # labels change for months; what was long ago holds nothing back
            self._saved = {name: when for name, when in self._saved.items() if now - when < self._every}
        try:
            self._save(result, label)
        except (OSError, ValueError) as error:
            if now - self._reported >= REPORT_EVERY:
                self._reported = now
                print(
                    f"classify: --snapshots {escaped(f'{self._folder}: an image was not kept: {error}')}",
                    file=sys.stderr,
                    flush=True,
                )

    def _save(self, result: Result, label: str) -> None:
        assert result.image is not None
        taken = datetime.fromtimestamp(time.time() if result.taken is None else result.taken, UTC)
        self._number = (self._number + 1) % 10000  # clocks jump back: two images may have one time
        stamp = taken.strftime("%Y%m%dT%H%M%S.") + f"{taken.microsecond // 1000:03d}Z"
        path = self._folder / f"clip_{stamp}_{self._number:04d}_{re.sub(r'[^A-Za-z0-9]+', '-', label)[:40].strip('-')}.jpg"
        temporary = path.with_suffix(".tmp")
        try:
            for last_try in (False, True):
                try:
                    result.image.convert("RGB").save(temporary, "JPEG", quality=QUALITY)
                    break
                except OSError:
                    if last_try or not self._kept:
                        raise
                    self._drop_oldest()  # the disk may be full: the oldest makes room
            size = temporary.stat().st_size
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self._kept.append((path, size))
        while sum(size for _, size in self._kept) > self._budget and len(self._kept) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        path, _ = self._kept.pop(0)
        path.unlink(missing_ok=True)

    def _listed(self) -> list[tuple[Path, int]]:
        """The images that an earlier run kept, oldest first."""
        found = [(path, path.stat()) for path in self._folder.iterdir() if _OURS.fullmatch(path.name)]
        return [(path, stat.st_size) for path, stat in sorted(found, key=lambda item: (item[1].st_mtime_ns, item[0].name))]


def parse_budget(text: str) -> int:
    """ "200M" as bytes. Raises UsageError for what is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.strip().upper())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--snapshot-budget should be a size as in 200M or 2G, found {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])
