"""The first load of a model happens in a child process: what crashes or hangs there is refused here, and this process lives.

`flatbuffer_check` keeps out what it knows; this keeps out what nobody thought of. A model that came through is remembered, so that the
next start pays nothing: the same flatbuffer, LiteRT and processor will do the same again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from tflite_runtime_app.admission.flatbuffer_check import check
from tflite_runtime_app.board import system_file
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.bundle.manifest import FEATURES
from tflite_runtime_app.errors import BUILD_AGAIN, AppError, BundleIncompatible
from tflite_runtime_app.files import cache_folder
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.engine import installed_litert
from tflite_runtime_app.policies import Never
from tflite_runtime_app.version import __version__

SECONDS = 120.0  # a large tower on the slowest board's one core, and Python's start from an SD card
MEMORY = (
    1 << 30
)  # bytes of address space beside four times the file: Python, LiteRT and numpy take a fifth of it, the arena the rest
REMEMBERED = 64  # models; an entry is an empty file
_REFUSED, _SHORT_OF_MEMORY = 3, 4  # the child's exit codes


def admit(bundle: Bundle, seconds: float = SECONDS, memory: int = MEMORY) -> None:
    """Returns when LiteRT has run every signature of `bundle` in a child process, now or on an earlier day.

    `seconds` and `memory` (bytes of address space beyond a few times the file) are what the child may take. Raises BundleCorrupt
    or BundleIncompatible when the model was refused, crashed, hung or ran out of memory; AppError when no child can be started.
    """
    mark = cache_folder("admitted") / identity(bundle)
    if mark.exists():
        return
    check(bundle.flatbuffer)
    _run_child(bundle, seconds, memory + 4 * len(bundle.flatbuffer))
    _remember(mark)


def try_model(bundle: Bundle) -> None:
    """Every signature of `bundle` ran once, stages in their order from a black image on, on one thread, in this process."""
    cascade = load_cascade(bundle, threads=1, policy=Never())
    for _ in cascade.stage_outputs(np.full(bundle.manifest.stages[0].inputs[0].shape, -128, np.int8)):
        pass
    for gate in bundle.manifest.gates:
        cascade.gate_score(gate, np.zeros(len(FEATURES), np.float32))


def main(words: list[str] | None = None) -> int:
    """The child: tries FILE under the limits given and ends with 0, or with another code and one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m tflite_runtime_app.admission.trial_run", description="Try a bundle's model once."
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--flatbuffer", metavar="SHA256", help="refuse a file that holds another one")
    parser.add_argument("--seconds", type=int, default=int(SECONDS), help="of processor time")
    parser.add_argument("--memory", type=int, default=MEMORY, help="bytes of address space")
    arguments = parser.parse_args(words)
    _limit(arguments.seconds, arguments.memory)
    try:
        bundle = read_bundle(arguments.file)
        if arguments.flatbuffer not in (None, bundle.manifest.flatbuffer_sha256):
            raise BundleIncompatible(f"{arguments.file} was replaced while it was read; start again")
        try_model(bundle)
    except MemoryError:
        return _SHORT_OF_MEMORY
    except AppError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _REFUSED
    except Exception as error:  # what LiteRT raises when a signature does not run
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return _REFUSED
    return 0


def _limit(seconds: int, memory: int) -> None:
    """This process ends when it takes more; some systems know no such limits, there the parent's clock must do."""
    later = seconds + 5  # at the hard limit comes SIGKILL, which tells nothing
    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, seconds, later),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def _run_child(bundle: Bundle, seconds: float, memory: int) -> None:
    # -P: a file called numpy.py in the working folder is not ours. The package itself must be found wherever this one was.
    home = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    limits = ["--seconds", str(max(1, round(seconds))), "--memory", str(memory)]
    stated = ["--flatbuffer", bundle.manifest.flatbuffer_sha256, *limits]
    command = [sys.executable, "-P", "-m", "tflite_runtime_app.admission.trial_run", *stated, "--", str(bundle.path.absolute())]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env=environment,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BundleIncompatible(f"{bundle.path}: the model did not run within {seconds:.0f} seconds; {BUILD_AGAIN}") from None
    except OSError as error:
        raise AppError(
            f"cannot start a process to try the model in ({error.strerror}); free some memory and try again"
        ) from error
    if done.returncode:
        raise BundleIncompatible(f"{bundle.path}: {_why(done.returncode, done.stderr.decode(errors='replace'), memory)}")


def _why(code: int, said: str, memory: int) -> str:
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    last = "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else "nothing"
    if code == _REFUSED:
        return f"the model was tried and refused: {last}"
    if code == _SHORT_OF_MEMORY:
        return f"the model needs more than {memory >> 20} MB to run; {BUILD_AGAIN}, or take a smaller model"
    if code == -signal.SIGKILL:
        return (
            f"the process that tried the model was killed, most likely for want of memory; {BUILD_AGAIN}, or take a smaller model"
        )
    if code == -signal.SIGXCPU:
        return f"the model did not come to an end in the processor time it may take; {BUILD_AGAIN}"
    if code < 0:
        return f"the model crashed the process that tried it ({_signal_name(-code)}), so it is not let in; {BUILD_AGAIN}"
    return f"the process that tried the model ended with {code}: {last}; run it again with --debug"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def identity(bundle: Bundle) -> str:
    """What must be the same for a model to do the same again: its bytes, LiteRT and this program, and the processor's kernels."""
    parts = (bundle.manifest.flatbuffer_sha256, installed_litert(), __version__, _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor() -> str:
    """Architecture, features and Arm's part number: XNNPACK picks its kernels by them, and an SD card moves between boards."""
    facts: dict[str, str] = {}
    for line in system_file("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in ("flags", "features", "cpu part"):
            facts.setdefault(name.strip(), value.strip())
    return " ".join((platform.machine(), *(facts.values() or (platform.processor(),))))


def _remember(mark: Path) -> None:
    """`mark` exists and the oldest beyond REMEMBERED are gone; where nothing can be written, the next start tries the model again."""
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark.touch()  # empty, so it is there whole or not at all
        marks = sorted(mark.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in marks[REMEMBERED:]:
            old.unlink()


if __name__ == "__main__":
    sys.exit(main())
