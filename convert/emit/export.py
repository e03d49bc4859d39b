"""Float stages -> one float TensorFlow Lite file with a signature per stage.

Two processes of their own do it, one stage behind the other: torch's exporter (`onnx_worker.py`), then the converter
(`tflite_worker.py`). Their files are merged here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from convert.emit.onnx_worker import STAGES
from convert.emit.tflite_worker import stage_path
from convert.stages.stage import Stage
from convert.support.errors import EmitError
from convert.support.processes import why_ended
from convert.support.progress import Progress
from convert.tflite.merge import Part, merge


def stages_to_float_tflite(stages: Sequence[Stage], progress: Progress) -> bytes:
    """A TensorFlow Lite file with signatures stage_0 .. stage_n in float32, batch 1; inputs and outputs named as the stages name them.

    Equal stages give equal bytes. Raises EmitError when a stage cannot be converted.
    """
    with tempfile.TemporaryDirectory(prefix="clip-rescue-") as name:
        folder = Path(name)
        torch.save(tuple(stages), folder / STAGES)
        _give_back_memory()
        converted = list(progress.over(_converted(folder, stages), len(stages), "stages through ONNX and onnx2tf"))
        return merge([_part(stage, folder) for stage in converted])


def _give_back_memory() -> None:
    """What the rewrites freed goes back to the system, where the C library has a way to (glibc): the converter is about to need it."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _part(stage: Stage, folder: Path) -> Part:
    index = stage.part.index
    return Part(f"stage_{index}", stage_path(folder, index).read_bytes(), (stage.input_name,), stage.output_names)


def _converted(folder: Path, stages: Sequence[Stage]) -> Iterator[Stage]:
    """Each stage as soon as its file is there; the processes that make the files are gone at the end, whatever happens."""
    waiting = list(stages)
    with (
        open(folder / "stderr", "a+", encoding="utf-8", errors="replace") as chatter,
        _program("convert.emit.onnx_worker", folder, subprocess.PIPE, chatter) as exporter,
        _program("convert.emit.tflite_worker", folder, exporter.stdout, chatter) as converter,
    ):
        assert exporter.stdout is not None  # the converter has it now; closed here, it ends when the exporter does
        exporter.stdout.close()
        try:
            for line in converter.stdout or ():
                if waiting and line.strip() == str(waiting[0].part.index):
                    yield waiting.pop(0)
        except BaseException:
            exporter.kill()
            converter.kill()
            raise
        codes = (exporter.wait(), converter.wait())
        if waiting:
            chatter.seek(0)
            raise _failure(waiting[0].part.index, codes, chatter.read())


def _program(module: str, folder: Path, lines: int | IO[str] | None, chatter: IO[str]) -> subprocess.Popen[str]:
    """The module as a program that reads `lines`."""
    search = os.pathsep.join(_search_path())
    return subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        stdin=lines,
        stdout=subprocess.PIPE,
        stderr=chatter,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )


def _search_path() -> Iterator[str]:
    """Where this process finds modules, but for a working folder that is gone."""
    for path in sys.path:
        with contextlib.suppress(FileNotFoundError):
            yield path or os.getcwd()


def _failure(stage: int, codes: Sequence[int], said: str) -> EmitError:
    """What to tell of a conversion whose processes ended with these codes and `said` this on standard error."""
    # The first cause counts: where one dies by a signal, the other only finds its pipe closed.
    code = -signal.SIGKILL if -signal.SIGKILL in codes else min(codes, key=lambda code: (code >= 0, -abs(code)))
    error = EmitError(f"stage {stage} cannot be converted: {why_ended(code, said)}")
    error.__cause__ = RuntimeError(said)
    return error
