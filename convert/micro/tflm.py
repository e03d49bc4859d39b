"""A stage's file run by TensorFlow Lite Micro's reference kernels on this machine, with the arena that it took."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.support.errors import ConvertError, UsageError
from convert.support.processes import why_ended
from convert.tflite.flatbuffer import schema
from tflite_runtime_app.errors import in_one_line

Codes = NDArray[np.int8]

ROOT = Path(__file__).resolve().parents[2]
ALIGNMENT = 16
LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
REMEDY = "install it with: pip install -c constraints.txt '.[mcu]'"


@dataclass(frozen=True, slots=True)
class Arena:
    """Bytes of arena: `head` are activations and scratch buffers, reused, `tail` what lasts; with this machine's 64-bit pointers."""

    total: int
    head: int
    tail: int

    @property
    def enough(self) -> int:
        """What an arena of any address must have: the total, and what its alignment may cost."""
        return -(-(self.total + ALIGNMENT) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """Outputs in the file's order, int8 [images, bytes] each, and the arena."""

    outputs: tuple[Codes, ...]
    arena: Arena


def require_installed() -> None:
    """Returns when TensorFlow Lite Micro is here. Raises UsageError with the remedy."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise UsageError(f"expected tflite-micro, which targets of microcontrollers need, found none; {REMEDY}")


def run(content: bytes, inputs: Sequence[Codes], arena_bytes: int = 0) -> Ran:
    """What the file gives for `inputs`, int8 [images, bytes] for each of its inputs in order; `arena_bytes` 0 sets no limit.

    Raises ConvertError when TensorFlow Lite Micro refuses the file, or the arena is too small.
    """
    require_installed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stage.tflite").write_bytes(content)
        np.savez(folder / "given.npz", **{str(k): values for k, values in enumerate(inputs)})
        words = [str(folder / "stage.tflite"), str(folder / "given.npz"), str(folder / "found.npz")]
        words += [str(outputs_of(content)), str(arena_bytes)]
        done = subprocess.run(
            [sys.executable, "-m", "convert.micro.tflm_child", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise ConvertError(f"TensorFlow Lite Micro does not run this file: {_reason(done.returncode, done.stderr)}")
        with np.load(folder / "found.npz", allow_pickle=False) as arrays:
            outputs = tuple(arrays[str(k)] for k in range(len(arrays.files)))
    return Ran(outputs, _arena(done.stderr))


def outputs_of(content: bytes) -> int:
    """How many outputs the file's first subgraph has. Raises ConvertError for bytes that are no TensorFlow Lite file."""
    try:
        return int(schema.Model.GetRootAs(content, 0).Subgraphs(0).OutputsLength())
    except Exception as error:  # of a flatbuffer that is none, a dozen kinds
        raise ConvertError(f"TensorFlow Lite Micro does not run this file: it is none ({type(error).__name__})") from error


def _arena(told: str) -> Arena:
    found = {match.group(1): int(match.group(2)) for match in LINE.finditer(told)}
    if set(found) != {"total", "head", "tail"}:
        raise ConvertError(f"TensorFlow Lite Micro should tell its arena's total, head and tail, found {sorted(found)}; {REMEDY}")
    return Arena(**found)


def _reason(code: int, told: str) -> str:
    """The library's last words but for Python's traceback, or the signal that ended it."""
    if code < 0:
        return why_ended(code, told)
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    speaking = [line for line in lines if not line.startswith(("File ", "Traceback", "^", "~"))]
    return in_one_line("; ".join(speaking[-2:])) if speaking else "it said nothing"
