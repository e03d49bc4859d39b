"""Float stages -> ONNX, one file each, in a process of its own: what torch's exporter once held goes back when it ends.

`export.py` runs this file as a program and hands its standard output to `tflite_worker.py`, which takes each file as soon as it is whole.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from convert.emit.tflite_worker import END, Work
from convert.stages.stage import Stage
from convert.support.quiet import quiet

OPSET = 20  # the first in which Gelu is one operator
STAGES = "stages.pt"


def main(folder: Path) -> None:
    """Every stage in the folder's STAGES lies there as ONNX; a line on standard output tells of each, and one that all are done."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    for stage in torch.load(folder / STAGES, mmap=True, weights_only=False):
        work = work_of(stage)
        with quiet():
            to_onnx(stage, torch.zeros(work.input_shape), work.onnx(folder), work.input_name, work.graph_outputs)
        _tell(work.line())
    _tell(END)


def work_of(stage: Stage) -> Work:
    """What the converter must know of a stage beside its ONNX file."""
    return Work(stage.part.index, stage.input_name, stage.input_shape(), stage.output_names)


def to_onnx(module: nn.Module, example: torch.Tensor, path: Path, given: str, outputs: Sequence[str]) -> None:
    """The module in float32 for inputs of the example's shape, which is called `given`; its outputs get these names."""
    with torch.no_grad():
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[given],
            output_names=list(outputs),
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
