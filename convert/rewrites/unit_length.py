"""Norms divide a token by its length instead of by its deviation: h / |h|, and sqrt(D) stands in whatever reads the norm.

h / sqrt(|h|^2 / D + eps) = sqrt(D) h / sqrt(|h|^2 + D eps), so readers get W <- sqrt(D) W: exact. What it buys: |h|^2 is one product of a
token with itself, summed in 32 bits and rounded once, where the mean of squares rounds every square to eight bits first: a flat patch's
squares are all below half a step of the brightest patch's, and its norm was lost (on a model of 12 blocks a seventh of the whole error).

Must not fire while a norm in a block, or norm_post, still has a weight: the reader could not take sqrt(D).
"""

from __future__ import annotations

import dataclasses
import math

from calibration.phases import RewriteInputs
from convert.model.tower import Block, Linear, Norm, Tower

TOLERANCE = 1e-4  # of the embedding's norm


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose norms give unit length."""
    if tower.norm_post.unit:
        return "the norms give unit length already"
    if tower.norm_post.weight is not None or any(
        b.norm_1.weight is not None or b.norm_2.weight is not None for b in tower.blocks
    ):
        return "a norm has a weight of its own; fold it first"
    gain = math.sqrt(tower.width)
    norm_pre, after = _before_the_blocks(tower, gain)
    return dataclasses.replace(
        tower.with_readers_of_norm_post(lambda reader: _times(reader, gain)),
        norm_pre=norm_pre,
        after_norm_pre=after,
        blocks=tuple(_block(block, gain) for block in tower.blocks),
        norm_post=_unit(tower.norm_post),
    )


def _before_the_blocks(tower: Tower, gain: float) -> tuple[Norm | None, Linear | None]:
    """norm_pre and the layer behind it, with the gain in what stands behind the norm's plain part: that layer, or its own weight."""
    norm, after = tower.norm_pre, tower.after_norm_pre
    if norm is None:
        return None, after
    if after is not None:
        return _unit(norm), _times(after, gain)
    if norm.weight is None:
        return norm, None
    return dataclasses.replace(_unit(norm), weight=norm.weight * gain), None


def _block(block: Block, gain: float) -> Block:
    return dataclasses.replace(
        block,
        norm_1=_unit(block.norm_1),
        query=_times(block.query, gain),
        key=_times(block.key, gain),
        value=_times(block.value, gain),
        norm_2=_unit(block.norm_2),
        fc_1=_times(block.fc_1, gain),
    )


def _unit(norm: Norm) -> Norm:
    return dataclasses.replace(norm, unit=True)


def _times(reader: Linear, gain: float) -> Linear:
    return Linear(reader.weight * gain, reader.bias)
