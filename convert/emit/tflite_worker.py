"""Stages as ONNX -> onnx2tf -> a TensorFlow Lite file each, in a process whose memory goes back when it ends.

onnx2tf and TensorFlow keep gigabytes of what they once held; `export.py` runs this file as a program, beside `onnx_worker.py`, whose
lines it reads: while one stage is converted the next is exported. Nothing is downloaded and nothing is written outside the folder that it
is given.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from convert.support.errors import EmitError
from convert.support.quiet import quiet

END = "end"


@dataclass(frozen=True, slots=True)
class Work:
    """One stage to convert: its signature's number, the name and shape of what goes in, the names of what comes out."""

    index: int
    input_name: str
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]

    def onnx(self, folder: Path) -> Path:
        """Where its ONNX file lies."""
        return folder / f"stage_{self.index}.onnx"

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        """The outputs' names in the ONNX file: keras wants them unlike the input's."""
        return tuple(f"{name}_out" for name in self.output_names)

    def line(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))


def work_from(line: str) -> Work:
    """The stage that a line names."""
    read = json.loads(line)
    return Work(read["index"], read["input_name"], tuple(read["input_shape"]), tuple(read["output_names"]))


def stage_path(folder: Path, index: int) -> Path:
    """Where the file of one stage alone lies."""
    return folder / f"stage_{index}.tflite"


def main(folder: Path) -> None:
    """Every stage that standard input names has its file at `stage_path`; one line on standard output tells of each."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while (line := lines.get()) != END:
        work = work_from(line)
        stage_path(folder, work.index).write_bytes(convert_stage(work, folder))
        work.onnx(folder).unlink()
        print(work.index, flush=True)


def convert_stage(work: Work, folder: Path) -> bytes:
    """The stage in float32, batch 1, as one subgraph; inputs and outputs in the stage's order, under names of the converter's."""
    with quiet():
        return _to_tflite(_to_keras(work, folder), work)


def _to_keras(work: Work, folder: Path) -> Any:
    """onnx2tf's tf_keras model of one stage, in memory."""
    # TensorFlow reads these when it is first imported.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import onnx2tf

    # For a single image-shaped input onnx2tf fetches sample images from the network to compare outputs; ours are compared in roles.py.
    module = sys.modules["onnx2tf.onnx2tf"]
    module.download_test_image_data = lambda: np.random.default_rng(0).random((20, 128, 128, 3), np.float32)  # type: ignore[attr-defined]
    return onnx2tf.convert(
        input_onnx_file_path=str(work.onnx(folder)),
        output_folder_path=str(work.onnx(folder).with_suffix("")),
        disable_model_save=True,
        not_use_onnxsim=True,
        not_use_opname_auto_generate=True,
        keep_shape_absolutely_input_names=[work.input_name],
        disable_strict_mode=True,
        non_verbose=True,
        verbosity="error",
    )


def _to_tflite(model: Any, work: Work) -> bytes:
    import tensorflow as tf

    def run(value: Any) -> list[Any]:
        outputs = model(value)
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        if len(outputs) != len(work.output_names):
            raise EmitError(f"onnx2tf gave {len(outputs)} outputs for stage {work.index}, expected {work.output_names}")
        return [tf.identity(output) for output in outputs]

    spec = tf.TensorSpec(work.input_shape, tf.float32, name=work.input_name)
    function = tf.function(run, autograph=False).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.experimental_lower_to_saved_model = False  # a saved model would write every weight to disk and read it again
    return bytes(converter.convert())


def _read(lines: SimpleQueue[str]) -> None:
    """Lines as they come. Without an END the exporter or the parent has died, and nobody waits for the files."""
    for line in sys.stdin:
        lines.put(line.strip())
        if line.strip() == END:
            return
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
