"""`from convert.model.torchvision_ops import open_clip` works beside a CPU-only torch too, with the index's torchvision.

torchvision registers fake kernels for two operators of its own library; where that library was built for another torch it does not
load, the operators are unknown, and the import fails. Declaring their signatures is all that is needed: nothing here calls them.
"""

from __future__ import annotations

import contextlib

import torch

_library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
for _signature in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    with contextlib.suppress(RuntimeError):  # a torchvision that fits has declared it itself
        _library.define(_signature)  # type: ignore[no-untyped-call]

import open_clip  # noqa: E402  (after the declarations that its import of torchvision needs)

__all__ = ["open_clip"]
