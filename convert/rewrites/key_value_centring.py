"""Keys and values have zero mean over the calibration images: their constant part moves to where it costs nothing.

Keys: b_k <- b_k - E[k]. A constant c added to every key moves a row of scores by q·c, the same for every column, and softmax drops it.
Values: b_v <- b_v - E[v] and b_o <- b_o + W_o E[v], because a row of softmax sums to 1. Exact for any c; with the mean taken out, a
symmetric range (zero point 0, which XNNPACK wants of the right operand of the attention products) wastes no codes.
Keys: "smooth K" of SageAttention (arXiv 2410.02367). Values: ours.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Block, Linear, Tower


def mean_roles(blocks: int) -> tuple[str, ...]:
    """The roles whose means this rewrite needs."""
    return tuple(f"block_{number + 1:02d}/{kind}" for number in range(blocks) for kind in ("key", "value"))


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose keys and values have had their means taken out, with the same embedding."""
    missing = [role for role in mean_roles(len(tower.blocks)) if role not in inputs.channel_means]
    if missing:
        return f"the mean of {missing[0]} is not known"
    means = {role: torch.from_numpy(mean) for role, mean in inputs.channel_means.items()}
    blocks = tuple(
        _centre(block, means[f"block_{number:02d}/key"], means[f"block_{number:02d}/value"])
        for number, block in enumerate(tower.blocks, start=1)
    )
    return dataclasses.replace(tower, blocks=blocks)


def _centre(block: Block, key_mean: Tensor, value_mean: Tensor) -> Block:
    return dataclasses.replace(
        block,
        key=Linear(block.key.weight, block.key.bias - key_mean),
        value=Linear(block.value.weight, block.value.bias - value_mean),
        out=Linear(block.out.weight, block.out.bias + block.out.weight @ value_mean),
    )
