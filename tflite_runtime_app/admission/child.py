"""The first load of a model happens in a child process: what crashes or hangs there is refused here, and this process lives.

`flatbuffer_check` keeps out what it knows; this keeps out what nobody thought of. A model that came through is remembered, so that the
next start pays nothing: the same flatbuffer, LiteRT and processor will do the same again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tflite_runtime_app.admission.budget import TRIAL_SECONDS
from tflite_runtime_app.board import system_file
from tflite_runtime_app.errors import AppError, BundleIncompatible, in_one_line
from tflite_runtime_app.files import cache_folder, recalled, remember
from tflite_runtime_app.inference.engine import installed_litert
from tflite_runtime_app.inference.one_blas_thread import ENVIRONMENT
from tflite_runtime_app.version import __version__

MEMORY = (
    1 << 30
)  # bytes of address space beside four times the file: Python, LiteRT and numpy take a fifth of it, the arena the rest
REMEMBERED = 64  # models; an entry is an empty file
_REFUSED, _SHORT_OF_MEMORY = 3, 4  # the child's exit codes
_FORM = "2"  # of a trial; another one when more is tried


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried: `python -m MODULE` runs the file at `path`, whose model has the digest `flatbuffer` and `size` bytes."""

    module: str
    path: Path
    flatbuffer: str
    size: int
    remedy: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a child may take: `seconds` in all, and `memory`, bytes of address space beyond a few times the file."""

    seconds: float = TRIAL_SECONDS
    memory: int = MEMORY


def admit_once(trial: Trial, check: Callable[[], None], allowed: Allowed) -> None:
    """Returns when the model was checked and came through its trial, now or on an earlier day.

    Raises what `check` raises; BundleIncompatible when the model was refused, crashed, hung or ran out of memory; AppError when no child
    can be started.
    """
    mark = cache_folder("admitted") / identity(trial.flatbuffer)
    if recalled(mark) is not None:
        return
    check()
    _run(trial, allowed)
    remember(mark, b"", REMEMBERED)


def child_main(module: str, attempt: Callable[[Path, str | None], None], words: list[str] | None = None) -> int:
    """The child: `attempt` runs FILE under the limits given; ends with 0, or with another code and one line on stderr.

    `attempt` takes the path, and the digest that the flatbuffer should have.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description="Try a file's model once.")
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--flatbuffer", metavar="SHA256", help="refuse a file that holds another one")
    parser.add_argument("--seconds", type=int, default=TRIAL_SECONDS, help="of processor time")
    parser.add_argument("--memory", type=int, default=MEMORY, help="bytes of address space")
    arguments = parser.parse_args(words)
    _limit(arguments.seconds, arguments.memory)
    try:
        attempt(arguments.file, arguments.flatbuffer)
    except MemoryError:
        return _SHORT_OF_MEMORY
    except AppError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _REFUSED
    except Exception as error:  # what LiteRT raises when a signature does not run
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return _REFUSED
    return 0


def check_digest(path: Path, wanted: str | None, found: str) -> None:
    """Returns when a file still holds the model that the parent has checked; raises BundleIncompatible."""
    if wanted not in (None, found):
        raise BundleIncompatible(f"{path} was replaced while it was read; start again")


def _limit(seconds: int, memory: int) -> None:
    """This process ends when it takes more; some systems know no such limits, there the parent's clock must do."""
    later = seconds + 5  # at the hard limit comes SIGKILL, which tells nothing
    import resource

    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, seconds, later),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def _run(trial: Trial, allowed: Allowed) -> None:
    # -P: a file called numpy.py in the working folder is not ours. The package itself must be found wherever this one was.
    import subprocess

    home = str(Path(__file__).parents[2])
    environment = {**ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    seconds, memory = allowed.seconds, allowed.memory + 4 * trial.size
    limits = ["--seconds", str(max(1, round(seconds))), "--memory", str(memory)]
    command = [sys.executable, "-P", "-m", trial.module, "--flatbuffer", trial.flatbuffer, *limits]
    try:
        done = subprocess.run(
            [*command, "--", str(trial.path.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env=environment,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BundleIncompatible(f"{trial.path}: the model did not run within {seconds:.0f} seconds; {trial.remedy}") from None
    except OSError as error:
        raise AppError(
            f"cannot start a process to try the model in ({error.strerror}); free some memory and try again"
        ) from error
    if done.returncode:
        why = _why(done.returncode, done.stderr.decode(errors="replace"), memory, trial.remedy)
        raise BundleIncompatible(f"{trial.path}: {why}")


def _why(code: int, said: str, memory: int, remedy: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    last = in_one_line(lines[-1]) if lines else "nothing"
    if code == _REFUSED:
        return f"the model was tried and refused: {last}"
    if code == _SHORT_OF_MEMORY:
        return f"the model needs more than {memory >> 20} MB to run; {remedy}, or take a smaller model"
    if code == -signal.SIGKILL:
        return f"the process that tried the model was killed, most likely for want of memory; {remedy}, or take a smaller model"
    if code == -signal.SIGXCPU:
        return f"the model did not come to an end in the processor time it may take; {remedy}"
    if code < 0:
        return f"the model crashed the process that tried it ({_signal_name(-code)}), so it is not let in; {remedy}"
    return f"the process that tried the model ended with {code}: {last}; run it again with --debug"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def identity(flatbuffer: str) -> str:
    """What must be the same for a model to do the same again: its bytes (their digest), LiteRT and this program, and the processor."""
    parts = (flatbuffer, installed_litert(), __version__, _FORM, _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor() -> str:
    """Architecture, features and Arm's part number: XNNPACK picks its kernels by them, and an SD card moves between boards."""
    facts: dict[str, str] = {}
    for line in system_file("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in ("flags", "features", "cpu part"):
            facts.setdefault(name.strip(), value.strip())
    if not facts:
        import platform

        facts["processor"] = platform.processor()
    return " ".join((os.uname().machine, *facts.values()))
