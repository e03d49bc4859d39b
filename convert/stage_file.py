"""One float stage -> ONNX -> onnx2tf -> a TensorFlow Lite file of its own, in a process whose memory goes back when it ends.

torch's exporter, onnx2tf and TensorFlow keep gigabytes of what they once held; `export.py` runs this file as a program. Nothing is
downloaded and nothing is written outside the folder that it is given.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convert.errors import EmitError
from convert.export import OPSET, STAGES, stage_path
from convert.quiet import quiet
from convert.stages import Stage


def main(folder: Path) -> None:
    """Every stage in the folder's STAGES has its file at `stage_path`; one line on standard output tells of each."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    for stage in torch.load(folder / STAGES, mmap=True, weights_only=False):
        stage_path(folder, stage.part.index).write_bytes(convert_stage(stage, folder))
        print(stage.part.index, flush=True)


def convert_stage(stage: Stage, folder: Path) -> bytes:
    """The stage in float32, batch 1, as one subgraph; inputs and outputs in the stage's order, under names of the converter's."""
    with quiet():
        path = folder / f"stage_{stage.part.index}.onnx"
        _to_onnx(stage, path)
        return _to_tflite(_to_keras(path, stage), stage)


def _to_onnx(stage: Stage, path: Path) -> None:
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


def _to_keras(path: Path, stage: Stage) -> Any:
    """onnx2tf's tf_keras model of one stage, in memory."""
    # TensorFlow reads these when it is first imported.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import onnx2tf

    # For a single picture-shaped input onnx2tf fetches sample pictures from the network to compare outputs; ours are compared in roles.py.
    module = sys.modules["onnx2tf.onnx2tf"]
    module.download_test_image_data = lambda: np.random.default_rng(0).random((20, 128, 128, 3), np.float32)  # type: ignore[attr-defined]
    return onnx2tf.convert(
        input_onnx_file_path=str(path),
        output_folder_path=str(path.with_suffix("")),
        disable_model_save=True,
        not_use_onnxsim=True,
        not_use_opname_auto_generate=True,
        keep_shape_absolutely_input_names=[stage.input_name],
        disable_strict_mode=True,
        non_verbose=True,
        verbosity="error",
    )


def _to_tflite(model: Any, stage: Stage) -> bytes:
    import tensorflow as tf

    def run(value: Any) -> list[Any]:
        outputs = model(value)
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        if len(outputs) != len(stage.output_names):
            raise EmitError(f"onnx2tf gave {len(outputs)} outputs for stage {stage.part.index}, expected {stage.output_names}")
        return [tf.identity(output) for output in outputs]

    spec = tf.TensorSpec(stage.input_shape(), tf.float32, name=stage.input_name)
    function = tf.function(run, autograph=False).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.experimental_lower_to_saved_model = False  # a saved model would write every weight to disk and read it again
    return bytes(converter.convert())


def _end_with_the_parent() -> None:
    """Standard input ends when the parent does, however it ended: nobody waits for the files then."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
