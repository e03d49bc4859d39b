"""The scores need no scaling: 1/sqrt(d) goes into the queries. s (W x + b)·k = (s W x + s b)·k, exact."""

from __future__ import annotations

import dataclasses

from calibration.phases import RewriteInputs
from convert.model.tower import Linear, Tower


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower with `attention_scale` 1 and every query layer multiplied by what it was."""
    scale = tower.attention_scale
    if scale == 1.0:
        return "the scores are not scaled"
    blocks = tuple(
        dataclasses.replace(block, query=Linear(block.query.weight * scale, block.query.bias * scale)) for block in tower.blocks
    )
    return dataclasses.replace(tower, blocks=blocks, attention_scale=1.0)
