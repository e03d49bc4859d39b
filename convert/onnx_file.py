"""Float stages -> ONNX, one file each, in a process of its own: what torch's exporter once held goes back when it ends.

`export.py` runs this file as a program and hands its standard output to `stage_file.py`, which takes each file as soon as it is whole.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import torch

from convert.quiet import quiet
from convert.stage_file import END, Work
from convert.stages import Stage

OPSET = 20  # the first in which Gelu is one operator
STAGES = "stages.pt"


def main(folder: Path) -> None:
    """Every stage in the folder's STAGES lies there as ONNX; a line on standard output tells of each, and one that all are done."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    for stage in torch.load(folder / STAGES, mmap=True, weights_only=False):
        work = work_of(stage)
        with quiet():
            to_onnx(stage, work.onnx(folder))
        _tell(work.line())
    _tell(END)


def work_of(stage: Stage) -> Work:
    """What the converter must know of a stage beside its ONNX file."""
    return Work(stage.part.index, stage.input_name, stage.input_shape(), stage.output_names)


def to_onnx(stage: Stage, path: Path) -> None:
    """The stage in float32, batch 1."""
    with torch.no_grad():
        torch.onnx.export(
            stage,
            (torch.zeros(stage.input_shape()),),
            path,
            input_names=[stage.input_name],
            output_names=[f"{name}_out" for name in stage.output_names],  # keras wants them unlike the input's
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _tell(line: str) -> None:
    """To the converter; where that has ended, its own error is the one to show."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os._exit(1)


def _end_with_the_parent() -> None:
    """Standard input ends when the parent does, however it ended: nobody waits for the files then."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
