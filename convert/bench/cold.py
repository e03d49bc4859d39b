"""Cold start and peak memory of `classify`, each measured in a fresh process that does nothing else (`first_answer.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from convert.bench.huge_pages import without
from convert.support.errors import ConvertError
from convert.support.processes import why_ended

STARTS = 5


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Medians over fresh processes. Seconds run from before the process exists to its first answer; bytes are peak resident memory.

    `import_*` are those of the same processes when they have imported the libraries of the board's program and done nothing else.
    """

    seconds: float
    import_seconds: float
    peak_bytes: int
    import_bytes: int

    @property
    def growth_bytes(self) -> int:
        """What bundle, interpreter and first image add to the imported libraries."""
        return self.peak_bytes - self.import_bytes


@dataclass(frozen=True, slots=True)
class _Start:
    """One process: seconds since before it existed, and its peak memory in bytes, after the imports and after the answer."""

    import_seconds: float
    seconds: float
    import_bytes: int
    peak_bytes: int


def cold_start(file: Path, image: Path, threads: int, starts: int = STARTS) -> ColdStart:
    """`classify FILE PICTURE` in `starts` fresh processes. Raises ConvertError when it fails."""
    found = [_start(str(file), str(image), "--json", "--threads", str(threads)) for _ in range(starts)]
    return ColdStart(
        seconds=median(one.seconds for one in found),
        import_seconds=median(one.import_seconds for one in found),
        peak_bytes=int(median(one.peak_bytes for one in found)),
        import_bytes=int(median(one.import_bytes for one in found)),
    )


def _start(*words: str) -> _Start:
    """One process of `classify WORDS`, from its start to the end of its work."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**without(os.environ), "PYTHONPATH": os.pathsep.join(paths)}  # as a user starts it
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "convert.bench.first_answer", *words],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise ConvertError(f"the cold start cannot be measured: {why_ended(done.returncode, done.stderr)}")
    imported, import_bytes, answered, peak_bytes = done.stdout.splitlines()[-1].split()
    return _Start(float(imported) - start, float(answered) - start, int(import_bytes), int(peak_bytes))
