"""LayerScale goes into the layer before it: g * (W x + b) = (diag(g) W) x + g * b, exact."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Linear, Tower


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower without LayerScale."""
    if all(block.scale_1 is None and block.scale_2 is None for block in tower.blocks):
        return "the tower has no LayerScale"
    blocks = tuple(
        dataclasses.replace(
            block, out=_fold(block.out, block.scale_1), fc_2=_fold(block.fc_2, block.scale_2), scale_1=None, scale_2=None
        )
        for block in tower.blocks
    )
    return dataclasses.replace(tower, blocks=blocks)


def _fold(writer: Linear, scale: Tensor | None) -> Linear:
    return writer if scale is None else Linear(writer.weight * scale[:, None], writer.bias * scale)
