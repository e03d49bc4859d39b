"""A linear map M of the residual stream, h' = M h, put into everything that writes it and everything that reads it.

Writers (patch embedding, class token, positions, attention's output, the MLP's output): W <- M W, b <- M b. Readers (queries, keys,
values, the MLP's first layer, the projection) stand behind norms and get W <- W N, with N M = 1 on the streams that occur.
Computed in float64, so that several maps in a row stay exact to float32.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from convert.model.tower import Block, Linear, Norm, Tower


def map_writers(tower: Tower, matrix: Tensor) -> Tower:
    """The tower whose stream is `matrix` [D, D] times what it was; its readers still expect the old one.

    With norm_pre, what feeds that norm is mapped too, and its affine becomes the layer `after_norm_pre`, whose input is mapped back.
    """
    m = matrix.double()
    patch = Linear(
        (m @ tower.patch.weight.double().flatten(1)).reshape(tower.patch.weight.shape).float(), _vector(m, tower.patch.bias)
    )
    return dataclasses.replace(
        tower,
        patch=patch,
        class_token=_vector(m, tower.class_token),
        position=(tower.position.double() @ m.T).float(),
        norm_pre=_plain(tower.norm_pre),
        after_norm_pre=_after_norm_pre(tower, m),
        blocks=tuple(dataclasses.replace(block, out=_left(m, block.out), fc_2=_left(m, block.fc_2)) for block in tower.blocks),
    )


def map_readers(tower: Tower, matrix: Tensor) -> Tower:
    """The tower whose readers multiply by `matrix` [D, D] first."""
    m = matrix.double()

    def block(old: Block) -> Block:
        query, key, value, fc_1 = (_right(layer, m) for layer in (old.query, old.key, old.value, old.fc_1))
        return dataclasses.replace(old, query=query, key=key, value=value, fc_1=fc_1)

    read = tower.with_readers_of_norm_post(lambda reader: _right(reader, m))
    return dataclasses.replace(read, blocks=tuple(block(b) for b in tower.blocks))


def _after_norm_pre(tower: Tower, m: Tensor) -> Linear | None:
    """M A M^T with A what stood behind norm_pre's plain part: exact when M is orthogonal, or a projection that M A's input lies in."""
    if tower.norm_pre is None:
        return None
    width = tower.width
    weight = tower.norm_pre.weight if tower.norm_pre.weight is not None else torch.ones(width)
    bias = tower.norm_pre.bias if tower.norm_pre.bias is not None else torch.zeros(width)
    old = tower.after_norm_pre or Linear(torch.diag(weight), bias)
    return Linear((m @ old.weight.double() @ m.T).float(), _vector(m, old.bias))


def _plain(norm: Norm | None) -> Norm | None:
    return None if norm is None else dataclasses.replace(norm, weight=None, bias=None)


def _left(m: Tensor, layer: Linear) -> Linear:
    return Linear((m @ layer.weight.double()).float(), _vector(m, layer.bias))


def _right(layer: Linear, m: Tensor) -> Linear:
    return Linear((layer.weight.double() @ m).float(), layer.bias)


def _vector(m: Tensor, vector: Tensor) -> Tensor:
    return (m @ vector.double()).float()
