"""open_clip's tower through torch.onnx, made int8 by ONNX Runtime's own static quantizer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from convert.bench.machine import VNNI, this_machine
from convert.bench.subject import Peer, Subject
from convert.emit.onnx_worker import to_onnx
from convert.support.quiet import quiet

LIBRARIES = ("onnxruntime",)


def prepare(subject: Subject) -> Peer:
    """Static int8 in QDQ form, per channel, min-max over the images.

    Activations are uint8 and weights int8, the pair that ONNX Runtime's kernels favour on x86; without VNNI weights have 7 bits,
    as its documentation advises, since 8-bit products would saturate there.
    """
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = subject.normalised()

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One image at a time, by the graph's input name."""

        def __init__(self) -> None:
            self._left: Iterator[NDArray[np.float32]] = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._left, None)
            return None if image is None else {"image": image[np.newaxis]}

    exported, prepared, path = (subject.folder / f"{name}.onnx" for name in ("exported", "prepared", "int8"))
    with quiet():
        to_onnx(subject.model.module.visual, torch.from_numpy(images[:1]), exported, "image", ["embedding"])
        quant_pre_process(str(exported), str(prepared))
        quantize_static(
            str(prepared),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=this_machine().instruction_set not in VNNI,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = subject.threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or its threads would run on into the next one's time
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(image: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = session.run(None, image)[0][0]
        return embedding

    inputs = tuple({"image": image[np.newaxis]} for image in images)
    return Peer(f"ONNX Runtime {onnxruntime.__version__} static int8", path.stat().st_size, inputs, embed)
