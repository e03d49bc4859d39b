"""The two programs as their users start them: processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.clone import ROOT


def python(module: str, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """How `python -m MODULE WORDS` ended, on a terminal of 80 columns."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=False
    )


def run(module: str, *words: object) -> subprocess.CompletedProcess[str]:
    """The same from the clone's own folder, as `make demo` does it; it must succeed."""
    done = python(module, *words, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


def build(model: str, path: Path) -> str:
    """The bundle of a shipped model from its stored calibration lies at `path`; what the command printed."""
    return run("convert", "build", "--target", "rpi", "--model", model, "--out", path, "--report", f"{path}-report").stdout
