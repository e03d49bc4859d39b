"""open_clip's tower through torch.onnx, made int8 by OpenVINO's own quantizer (NNCF) and run by OpenVINO."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray

from convert.bench.subject import Peer, Subject
from convert.emit.onnx_worker import to_onnx
from convert.support.quiet import quiet

LIBRARIES = ("openvino", "nncf")


def prepare(subject: Subject) -> Peer:
    """Post-training quantization as NNCF does it for transformers, on the images; what stays float runs in the type that OpenVINO chooses.

    The file is compiled for least latency on the subject's threads.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # both go without; else they report to their makers
    images = subject.normalised()
    exported, path = subject.folder / "exported.onnx", subject.folder / "int8.xml"
    with quiet():
        import nncf
        import openvino

        to_onnx(subject.model.module.visual, torch.from_numpy(images[:1]), exported, "image", ["embedding"])
        core = openvino.Core()
        samples = nncf.Dataset([image[np.newaxis] for image in images])
        kind, preset = nncf.ModelType.TRANSFORMER, nncf.QuantizationPreset.MIXED
        quantized = nncf.quantize(
            core.read_model(str(exported)), samples, model_type=kind, preset=preset, subset_size=len(images)
        )
        openvino.save_model(quantized, str(path))
        properties = {"INFERENCE_NUM_THREADS": subject.threads, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(str(path), "CPU", properties).create_infer_request()

    def embed(image: NDArray[np.float32]) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = request.infer({0: image}, share_inputs=True)[0][0].copy()
        return embedding

    size = sum(part.stat().st_size for part in (path, path.with_suffix(".bin")))
    version = openvino.get_version().partition("-")[0]
    inputs = tuple(image[np.newaxis] for image in images)
    return Peer(f"OpenVINO {version} int8 by NNCF {nncf.__version__}", size, inputs, embed)
