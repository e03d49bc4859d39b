"""open_clip's tower through pnnx, its Gemm and attention layers in ncnn's int8."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert.bench.ncnn_int8 import quantized
from convert.bench.subject import Peer, Subject
from convert.support.errors import EmitError
from convert.support.processes import why_ended
from convert.support.quiet import quiet

LIBRARIES = ("ncnn", "pnnx")


def prepare(subject: Subject) -> Peer:
    """What ncnn2int8 makes of the network without a calibration table (ncnn_int8.py). Raises EmitError when pnnx cannot convert it."""
    import ncnn
    import pnnx

    images, visual = subject.normalised(), subject.model.module.visual
    traced = subject.folder / "tower.pt"
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # pnnx knows attention in its plain form
    try:
        with quiet(), torch.no_grad():
            trace: Any = torch.jit.trace  # has no types
            trace(visual, torch.from_numpy(images[:1]), check_trace=False).save(str(traced))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    shape = ",".join(str(size) for size in (1, *images.shape[1:]))
    done = subprocess.run(
        [pnnx.EXEC_PATH, traced.name, f"inputshape=[{shape}]", "fp16=0"],
        cwd=subject.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    param, weights = (subject.folder / f"tower.ncnn.{suffix}" for suffix in ("param", "bin"))
    if done.returncode or not param.is_file():
        raise EmitError(
            f"pnnx does not convert this tower: {why_ended(done.returncode, done.stderr)}; leave ncnn out of --against"
        )
    try:
        text, content, layers = quantized(param.read_text(), weights.read_bytes())
    except ValueError as error:
        raise EmitError(f"pnnx gave a network that is not understood here: {error}; leave ncnn out of --against") from error
    param.write_text(text)
    weights.write_bytes(content)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = subject.threads, False
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise EmitError("ncnn does not load the int8 network; leave ncnn out of --against")

    def embed(image: Any) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input("in0", image)
        failed, embedding = extractor.extract("out0")
        if failed:
            raise EmitError(f"ncnn does not run the int8 network (code {failed}); leave ncnn out of --against")
        return np.array(embedding, np.float32).reshape(-1)

    return Peer(
        f"ncnn {ncnn.__version__} int8 ({layers} layers)", len(content), tuple(ncnn.Mat(image).clone() for image in images), embed
    )
