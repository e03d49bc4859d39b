"""Queries and keys, and values, are rotated within each head, so that no channel of a head stands out in their int8 tensors.

(R q)·(R k) = q·k, and softmax(…) V mixes tokens, not channels: W_q <- R W_q, W_k <- R W_k, W_v <- R W_v with their biases, and
W_o <- W_o R^T takes the values' rotation back, R orthogonal of the head's size: exact. QuaRot's R2 and R3 (arXiv 2404.00456); a ViT has no
rotary positions between Q and K, so both cost nothing.

Must not fire on heads of one channel.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Block, Linear, Tower
from convert.rewrites.rotation import orthogonal

TOLERANCE = 1e-4  # of the embedding's norm


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose heads compute in a rotated basis."""
    size = tower.width // tower.heads
    if size == 1:
        return "a head of one channel cannot be rotated"
    rotation = torch.kron(torch.eye(tower.heads, dtype=torch.float64), orthogonal(size, inputs.rotation_seed))
    return dataclasses.replace(tower, blocks=tuple(_rotated(block, rotation) for block in tower.blocks))


def _rotated(block: Block, rotation: Tensor) -> Block:
    def left(layer: Linear) -> Linear:
        return Linear((rotation @ layer.weight.double()).float(), (rotation @ layer.bias.double()).float())

    out = Linear((block.out.weight.double() @ rotation.T).float(), block.out.bias)
    return dataclasses.replace(block, query=left(block.query), key=left(block.key), value=left(block.value), out=out)
