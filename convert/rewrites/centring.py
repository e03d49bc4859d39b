"""The residual stream gets zero mean over channels, so that LayerNorm becomes RMSNorm: one mean and one subtraction less per norm.

Every writer W <- (I - 11^T/D) W, b <- (I - 11^T/D) b, class and position embeddings too. LayerNorm subtracts the mean that is now zero,
so every reader sees what it saw: exact. SliceGPT (arXiv 2401.15024), section 3.1. What feeds norm_pre is centred as well.
Exits keep their values: the pooled token is a mean of centred tokens, and n(h) is unchanged.
"""

from __future__ import annotations

import dataclasses

import torch

from calibration.phases import RewriteInputs
from convert.model.tower import Norm, Tower
from convert.rewrites.stream_map import map_writers


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose stream has zero mean over channels, its norms knowing it."""
    if tower.norm_post.centred:
        return "the stream is centred already"
    if any(block.scale_1 is not None or block.scale_2 is not None for block in tower.blocks):
        return "LayerScale stands between the layers and the stream; fold it first"
    tower = map_writers(tower, torch.eye(tower.width, dtype=torch.float64) - 1.0 / tower.width)
    blocks = tuple(
        dataclasses.replace(block, norm_1=_centred(block.norm_1), norm_2=_centred(block.norm_2)) for block in tower.blocks
    )
    norm_pre = None if tower.norm_pre is None else _centred(tower.norm_pre)
    return dataclasses.replace(tower, blocks=blocks, norm_pre=norm_pre, norm_post=_centred(tower.norm_post))


def _centred(norm: Norm) -> Norm:
    return dataclasses.replace(norm, centred=True)
