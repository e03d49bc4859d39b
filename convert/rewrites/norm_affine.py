"""A norm's weight and bias go into the layers that read it: W (g * n + b) + c = (W diag(g)) n + (c + W b), exact.

Every reader of a norm in a block is a linear layer; ln_post's are the projection and the first layers of exits' heads, which read a mean of
tokens before or after the norm, or queries and values, which read every token. ln_pre has no such reader: the stream itself takes what it
puts out.
"""

from __future__ import annotations

import dataclasses

from calibration.phases import RewriteInputs
from convert.model.tower import Block, Linear, Norm, Tower


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose norms, but for norm_pre, have neither weight nor bias."""
    if tower.norm_post.weight is None and all(
        block.norm_1.weight is None and block.norm_2.weight is None for block in tower.blocks
    ):
        return "the norms have neither weight nor bias"
    read = tower.with_readers_of_norm_post(lambda reader: _fold(tower.norm_post, reader))
    return dataclasses.replace(
        read, blocks=tuple(_fold_block(block) for block in tower.blocks), norm_post=_plain(tower.norm_post)
    )


def _fold_block(block: Block) -> Block:
    return dataclasses.replace(
        block,
        norm_1=_plain(block.norm_1),
        query=_fold(block.norm_1, block.query),
        key=_fold(block.norm_1, block.key),
        value=_fold(block.norm_1, block.value),
        norm_2=_plain(block.norm_2),
        fc_1=_fold(block.norm_2, block.fc_1),
    )


def _plain(norm: Norm) -> Norm:
    return dataclasses.replace(norm, weight=None, bias=None)


def _fold(norm: Norm, reader: Linear) -> Linear:
    if norm.weight is None or norm.bias is None:
        return reader
    return Linear(reader.weight * norm.weight, reader.bias + reader.weight @ norm.bias)
