"""One row of the table of boards in docs/boards.md, measured here and ready to paste into a pull request."""

from __future__ import annotations

import platform
import time
from pathlib import Path

from tflite_runtime_app import board
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.checks.machine import cpu, flags, model
from tflite_runtime_app.checks.model import full_depth
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.engine import installed_litert
from tflite_runtime_app.policies import Never

COLUMNS = ("board", "system", "CPU", "LiteRT", "model", "1 thread, ms", "threads", "ms", "load, s", "memory, MB", "throttled")
RUNS = 50


def row(path: str) -> tuple[str, ...]:
    """The bundle at `path` on this board: medians of `RUNS` images at full depth. Raises AppError when it cannot be run."""
    bundle = accepted_bundle(Path(path))
    threads, _ = valid_threads(bundle, board.default_threads())
    start = time.perf_counter()
    many = load_cascade(bundle, threads, policy=Never())
    load = time.perf_counter() - start
    several = full_depth(many, RUNS)
    single = several if threads == 1 else full_depth(load_cascade(bundle, 1, policy=Never()), RUNS)
    return (
        model() or platform.machine(),
        _system(),
        cpu(flags(board.system_file("/proc/cpuinfo"))).found,
        installed_litert(),
        f"{bundle.manifest.name}, {bundle.manifest.total_macs / 1e6:.0f} MMAC",
        _milliseconds(single),
        str(threads),
        _milliseconds(several),
        f"{load:.2f}",
        f"{board.memory_bytes() / 1e6:.0f}",
        board.throttled() or "not told",
    )


def markdown(cells: tuple[str, ...]) -> str:
    """The row as the table has it."""
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _milliseconds(time: float) -> str:
    """One decimal; three significant digits below a millisecond, where a small model runs."""
    return f"{time:.1f}" if time >= 1 else f"{time:.3g}"


def _system() -> str:
    """As in "Debian GNU/Linux 12 (bookworm)"."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
