"""Cold start and peak memory of `classify`, each measured in a fresh process that does nothing else.

Run as a program, this module is that process: it imports the board's libraries, runs the board's command line, and prints the clock
and its own peak memory after either. One process gives both, so that no noise makes the part longer than the whole. Nothing of the
workshop is loaded in it.
"""

from __future__ import annotations

import json
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
        [sys.executable, "-m", "convert.bench.cold", *words],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise ConvertError(f"the cold start cannot be measured: {why_ended(done.returncode, done.stderr)}")
    imported, answered = json.loads(done.stdout.splitlines()[-1])
    return _Start(imported["clock"] - start, answered["clock"] - start, imported["peak_bytes"], answered["peak_bytes"])


def _now() -> dict[str, float]:
    """The monotonic clock, which is the machine's: it counts on from what the parent read. And this process's peak memory in bytes."""
    return {"clock": time.monotonic(), "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """VmHWM of this process. The resource module's ru_maxrss would not do: a child inherits its parent's peak there."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _main(words: list[str]) -> int:
    import ai_edge_litert.interpreter  # noqa: F401
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401

    from tflite_runtime_app import cli

    imported = _now()
    code = cli.main(words)
    print(json.dumps([imported, _now()]))
    return code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
