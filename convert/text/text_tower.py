"""An open_clip text tower as plain arrays, what is exact in float folded away: norms lose their affine, queries carry 1/sqrt(d).

A linear layer holds weight [out, in] and bias [out]. In scope are CLIP's own text transformers: causal mask, the embedding read at the
end-of-text token, exact or quick GELU, with or without LayerScale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convert.model.load import ClipModel
from convert.model.supported import Activation, gelu_of
from convert.support.errors import UnsupportedTower

Floats = NDArray[np.float32]
SUPPORTED = "open_clip's text transformer with default blocks, causal mask, pool_type argmax, exact or quick GELU, and CLIP's own tokenizer"


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """y = weight x + bias."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, eq=False)
class TextBlock:
    """One block; each norm is without affine, its epsilon beside it."""

    epsilon_1: float
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    epsilon_2: float
    fc_1: Linear
    fc_2: Linear


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """`table` [vocabulary, width], `position` [context, width], `projection` onto the embedding behind the last norm."""

    table: Floats
    position: Floats
    blocks: tuple[TextBlock, ...]
    heads: int
    activation: Activation
    epsilon: float
    projection: Linear

    @property
    def context(self) -> int:
        """How many tokens a sentence may have, start and end among them."""
        return int(self.position.shape[0])

    @property
    def width(self) -> int:
        """Channels of a token."""
        return int(self.table.shape[1])

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding."""
        return int(self.projection.bias.shape[0])


def text_tower(model: ClipModel) -> TextTower:
    """The model's text tower. Raises UnsupportedTower naming what cannot be converted."""
    source = _text_module(model.module)
    _refuse(source, model.tokenizer)
    heads = int(source.transformer.resblocks[0].attn.num_heads)
    return TextTower(
        table=_array(source.token_embedding.weight),
        position=_array(source.positional_embedding),
        blocks=tuple(_block(block, heads) for block in source.transformer.resblocks),
        heads=heads,
        activation=_activation(source.transformer.resblocks[0].mlp.gelu),
        epsilon=float(source.ln_final.eps),
        projection=_behind(source.ln_final, _projection(source.text_projection, source.ln_final.weight.shape[0])),
    )


def _text_module(module: Any) -> Any:
    """What holds the text tower: the model itself (CLIP), or its part (CustomTextCLIP)."""
    return getattr(module, "text", module)


def _refuse(source: Any, tokenizer: Any) -> None:
    from convert.model.torchvision_ops import open_clip

    def unsupported(what: str) -> UnsupportedTower:
        return UnsupportedTower(f"cannot convert {what}; what can be converted: {SUPPORTED}")

    if not isinstance(source, open_clip.transformer.TextTransformer | open_clip.model.CLIP):
        raise unsupported(f"a text tower of type {type(source).__name__}")
    pooling = getattr(source, "pool_type", None) or getattr(source, "text_pool_type", None)
    if pooling != "argmax":
        raise unsupported(f"a text tower with pool_type {pooling!r}")
    if getattr(source, "cls_emb", None) is not None:
        raise unsupported("a text tower with a class embedding (embed_cls)")
    if source.attn_mask is None:
        raise unsupported("a text tower without a causal mask (no_causal_mask)")
    for block in source.transformer.resblocks:
        if type(block) is not open_clip.transformer.ResidualAttentionBlock:
            raise unsupported(f"a text tower with blocks of type {type(block).__name__}")
    if len({_activation(block.mlp.gelu) for block in source.transformer.resblocks}) > 1:
        raise unsupported("a text tower that mixes activations")
    own = isinstance(tokenizer, open_clip.tokenizer.SimpleTokenizer)
    if not own or tokenizer.clean_fn is not open_clip.tokenizer.get_clean_fn("lower") or tokenizer.reduction_fn is not None:
        raise unsupported(f"a text tower whose tokenizer ({type(tokenizer).__name__}) or its settings are not CLIP's")
    if source.token_embedding.weight.shape[0] != tokenizer.vocab_size:
        raise unsupported(
            f"a text tower of {source.token_embedding.weight.shape[0]} tokens with a tokenizer of {tokenizer.vocab_size}"
        )


def _activation(module: nn.Module) -> Activation:
    found = gelu_of(module)
    if found is None:
        raise UnsupportedTower(f"cannot convert a text tower with the activation {module}; what can be converted: {SUPPORTED}")
    return found


def _block(module: Any, heads: int) -> TextBlock:
    attention = module.attn
    weights, biases = np.split(_array(attention.in_proj_weight), 3), np.split(_array(attention.in_proj_bias), 3)
    query, key, value = (_behind(module.ln_1, Linear(w, b)) for w, b in zip(weights, biases, strict=True))
    scale = np.float32((query.weight.shape[0] // heads) ** -0.5)
    return TextBlock(
        epsilon_1=float(module.ln_1.eps),
        query=Linear(query.weight * scale, query.bias * scale),
        key=key,
        value=value,
        out=_before(module.ls_1, _linear(attention.out_proj)),
        epsilon_2=float(module.ln_2.eps),
        fc_1=_behind(module.ln_2, _linear(module.mlp.c_fc)),
        fc_2=_before(module.ls_2, _linear(module.mlp.c_proj)),
    )


def _projection(projection: Any, width: int) -> Linear:
    if projection is None:
        return Linear(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    if isinstance(projection, nn.Linear):
        return _linear(projection)
    weight = np.ascontiguousarray(_array(projection).T)
    return Linear(weight, np.zeros(len(weight), np.float32))


def _behind(norm: Any, layer: Linear) -> Linear:
    """The layer that reads the norm without its affine as `layer` reads the norm with it."""
    return Linear(layer.weight * _array(norm.weight), layer.bias + layer.weight @ _array(norm.bias))


def _before(scale: Any, layer: Linear) -> Linear:
    """The layer with the LayerScale behind it, where there is one."""
    if isinstance(scale, nn.Identity):
        return layer
    gamma = _array(scale.gamma)
    return Linear(layer.weight * gamma[:, None], layer.bias * gamma)


def _linear(module: Any) -> Linear:
    bias = np.zeros(module.weight.shape[0], np.float32) if module.bias is None else _array(module.bias)
    return Linear(_array(module.weight), bias)


def _array(value: torch.Tensor) -> Floats:
    return np.asarray(value.detach().float().contiguous().numpy(), np.float32)
