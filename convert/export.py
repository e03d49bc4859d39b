"""Float stages -> ONNX -> onnx2tf -> one float TensorFlow Lite file with a signature per stage.

Nothing is downloaded and nothing is written outside a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convert.errors import EmitError
from convert.progress import Progress
from convert.quiet import quiet
from convert.stages import Stage

OPSET = 20  # the first in which Gelu is one operator


def stages_to_float_tflite(stages: Sequence[Stage], progress: Progress) -> bytes:
    """A TensorFlow Lite file with signatures stage_0 .. stage_n in float32, batch 1; inputs and outputs named as the stages name them."""
    with tempfile.TemporaryDirectory(prefix="clip-rescue-") as folder, quiet():
        models = []
        for stage in stages:
            path = Path(folder) / f"stage_{stage.part.index}.onnx"
            _to_onnx(stage, path)
            models.append(_to_keras(path, stage))
            progress.step(f"stage {stage.part.index} through ONNX and onnx2tf")
        content = _to_tflite(models, stages, str(Path(folder) / "saved_model"))
        progress.step("float TensorFlow Lite file")
        return content


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


def _to_tflite(models: Sequence[Any], stages: Sequence[Stage], folder: str) -> bytes:
    import tensorflow as tf

    class Variables(tf.Module):  # type: ignore[misc]
        """Holds the variables alone: a tracked keras model makes saved_model.save write each weight as JSON text, for minutes."""

        def __init__(self) -> None:
            super().__init__()
            self.held = [list(model.variables) for model in models]

    def signature(model: Any, stage: Stage) -> Any:
        def run(**inputs: Any) -> dict[str, Any]:
            outputs = model(inputs[stage.input_name])
            outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
            if len(outputs) != len(stage.output_names):
                raise EmitError(
                    f"onnx2tf gave {len(outputs)} outputs for stage {stage.part.index}, expected {stage.output_names}"
                )
            return {name: tf.identity(value, name=name) for name, value in zip(stage.output_names, outputs, strict=True)}

        spec = tf.TensorSpec(stage.input_shape(), tf.float32, name=stage.input_name)
        return tf.function(run, autograph=False).get_concrete_function(**{stage.input_name: spec})

    signatures = {f"stage_{stage.part.index}": signature(model, stage) for model, stage in zip(models, stages, strict=True)}
    tf.saved_model.save(Variables(), folder, signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    return bytes(converter.convert())
