"""The peak memory of a bundle that runs, measured in a fresh process that does nothing else.

Run as a program, this module is that process: it reads the bundle, runs every stage and every gate once, and prints its own peak.
Nothing of the workshop is loaded in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from convert.support.errors import ConvertError
from convert.support.processes import why_ended


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of resident memory: the whole process at its peak, and what it had with its libraries imported."""

    peak_bytes: int
    import_bytes: int

    @property
    def growth_bytes(self) -> int:
        """What the file adds: its bytes, XNNPACK's packed weights, the arenas, the labels."""
        return self.peak_bytes - self.import_bytes


def measure(file: Path) -> Footprint:
    """The footprint of the bundle at `file`, which should have passed the board's check. Raises ConvertError when it does not run."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "convert.board.footprint", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise ConvertError(f"{file} does not run to measure its memory: {why_ended(done.returncode, done.stderr)}")
    return Footprint(**json.loads(done.stdout.splitlines()[-1]))


def _peak_bytes() -> int:
    """VmHWM of this process: a child would inherit its parent's ru_maxrss."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _main(file: str) -> int:
    import ai_edge_litert.interpreter  # noqa: F401
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401

    import tflite_runtime_app.cli  # noqa: F401  (what `classify` has loaded before it reads the file)
    from tflite_runtime_app.admission.trial_run import try_model
    from tflite_runtime_app.bundle.file import read_bundle

    before = _peak_bytes()
    try_model(read_bundle(file))
    print(json.dumps({"peak_bytes": _peak_bytes(), "import_bytes": before}))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
