"""An open_clip ViT image tower as plain data: weights and structure, nothing of its modules left.

Rewrites take a `Tower` and give back a `Tower`; `convert/stages/stage.py` runs one. Shapes: D width, T tokens (1 class token and N patch
tokens), E embedding, M hidden width of the MLP; a linear layer holds weight [out, in] and bias [out].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convert.model.supported import Activation, activation_of, refuse

Pooling = Literal["class_token", "average", "average_then_norm"]


@dataclass(frozen=True, slots=True)
class Linear:
    """y = weight x + bias."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """y = (x - mean) / sqrt(var + eps) * weight + bias over channels; without weight and bias once they are folded away.

    `centred` says that x has zero mean by construction, so that the mean need not be taken (RMSNorm). `unit` says that y has unit length
    instead of unit variance, (x - mean) / sqrt(|x - mean|^2 + D eps): the sqrt(D) between them stands in what comes next.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    centred: bool = False
    unit: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One residual block: h += scale_1 * out(attention(norm_1(h))), then h += scale_2 * fc_2(act(fc_1(norm_2(h))))."""

    norm_1: Norm
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    scale_1: Tensor | None
    norm_2: Norm
    fc_1: Linear
    fc_2: Linear
    scale_2: Tensor | None


@dataclass(frozen=True, slots=True)
class Attention:
    """How a head pools tokens n_t: query q takes the mean of the values W n_t + b [V], weighted by softmax over t of w_q n_t + c_q.

    `queries` holds w [Q, D] and c [Q], `values` W [V, D] and b [V]; the Q means stand side by side, [Q V]. The tokens are the patches',
    with `class_token` that one too: in some towers it says more from some block on (DeiT), in others little before the end (the paper).
    """

    queries: Linear
    values: Linear
    class_token: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What an exit has of its own in the projection's place: one linear layer, or two with the tower's GELU between.

    It gives an embedding in the projection's space. Without `attention` it reads what the projection reads, norm_post of the mean patch
    token; with it, what that pools of the tokens behind norm_post.
    """

    layers: tuple[Linear, ...]
    attention: Attention | None = None

    @property
    def linear(self) -> dict[str, Linear]:
        """Every linear layer by the kind of what it gives, in the order in which they are computed."""
        layers = dict(zip(("fc_1", "embedding")[-len(self.layers) :], self.layers, strict=True))
        return layers if self.attention is None else {"scores": self.attention.queries, "value": self.attention.values, **layers}

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates, of so many patch tokens."""
        layers = sum(layer.weight.numel() for layer in self.layers)
        if self.attention is None:
            return layers
        (queries, width), values = self.attention.queries.weight.shape, len(self.attention.values.weight)
        read = tokens + self.attention.class_token
        return layers + read * (queries * width + values * width + queries * values)

    def mapped(self, change: Callable[[str, Linear], Linear]) -> Head:
        """The head with each of its linear layers changed, by the kind of what it gives."""
        new = {name: change(name, layer) for name, layer in self.linear.items()}
        attention = self.attention
        if attention is not None:
            attention = Attention(new.pop("scores"), new.pop("value"), attention.class_token)
        return Head(tuple(new.values()), attention)

    def with_readers_of_norm_post(self, change: Callable[[Linear], Linear]) -> Head:
        """The head with the layers changed that read what norm_post puts out."""
        readers = ("scores", "value") if self.attention else (next(iter(self.linear)),)
        return self.mapped(lambda name, layer: change(layer) if name in readers else layer)


@dataclass(frozen=True, slots=True)
class Tower:
    """A whole image tower. `patch` is the patch convolution's [D, 3, ph, pw] with a bias [D].

    `pixel_mean` and `pixel_deviation` normalise an image in 0..1 before `patch`; None once they are folded into it.
    `attention_scale` multiplies the scores; 1.0 once it is folded into the queries.
    `after_norm_pre`, [D, D], takes the place of norm_pre's weight and bias once the stream is centred or rotated behind it.
    `projection` maps the normed, pooled token to the embedding; exits share it, but for those that have a head of their own in
    `exit_heads`, by blocks done. `mean_direction` is the unit vector [D] along which the original tower's mean over channels lies in this
    tower's basis: ones / sqrt(D), until a rotation turns it.
    """

    image_size: tuple[int, int]
    pixel_mean: tuple[float, float, float] | None
    pixel_deviation: tuple[float, float, float] | None
    patch: Linear
    class_token: Tensor
    position: Tensor
    norm_pre: Norm | None
    after_norm_pre: Linear | None
    blocks: tuple[Block, ...]
    heads: int
    attention_scale: float
    activation: Activation
    pooling: Pooling
    norm_post: Norm
    projection: Linear
    mean_direction: Tensor
    exit_heads: Mapping[int, Head] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """D, the number of channels of the residual stream."""
        return int(self.class_token.shape[0])

    @property
    def tokens(self) -> int:
        """T = 1 + N, the class token and the patch tokens."""
        return int(self.position.shape[0])

    @property
    def embedding_size(self) -> int:
        """E, the length of the embedding."""
        return int(self.projection.weight.shape[0])

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return int(self.patch.weight.shape[2]), int(self.patch.weight.shape[3])

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches there are down and across."""
        (height, width), (down, across) = self.image_size, self.patch_size
        return height // down, width // across

    def block_macs(self, rows: int | None = None) -> int:
        """Multiply-accumulates of one block that computes so many of its T rows, all by default.

        K and V for T tokens; Q, output, both MLP layers and the two attention products for the rows.
        """
        block, tokens, width = self.blocks[0], self.tokens, self.width
        asked = tokens if rows is None else rows
        of_all = sum(layer.weight.numel() for layer in (block.key, block.value))
        of_rows = sum(layer.weight.numel() for layer in (block.query, block.out, block.fc_1, block.fc_2))
        return tokens * of_all + asked * (of_rows + 2 * tokens * width)

    def patch_macs(self) -> int:
        """Multiply-accumulates of the patch embedding, and of the layer behind norm_pre where there is one."""
        after = 0 if self.after_norm_pre is None else self.tokens * self.after_norm_pre.weight.numel()
        return (self.tokens - 1) * self.patch.weight.numel() + after

    def head_macs(self, blocks_done: int) -> int:
        """Multiply-accumulates of the embedding head after so many blocks."""
        head = self.exit_heads.get(blocks_done)
        return self.projection.weight.numel() if head is None else head.macs(self.tokens - 1)

    def with_readers_of_norm_post(self, change: Callable[[Linear], Linear]) -> Tower:
        """The tower whose projection and whose heads' readers are changed alike: all of them read norm_post."""
        heads = {done: head.with_readers_of_norm_post(change) for done, head in self.exit_heads.items()}
        return dataclasses.replace(self, projection=change(self.projection), exit_heads=heads)


def tower_from_open_clip(visual: nn.Module, mean: Any, deviation: Any) -> Tower:
    """The same tower as data, in float32, detached from the module. Raises UnsupportedTower naming what cannot be converted."""
    refuse(visual)
    v: Any = visual
    projection = v.proj.detach().float().t().contiguous()
    patch = v.conv1.weight.detach().float()
    blocks = tuple(_block(block) for block in v.transformer.resblocks)
    average: Pooling = "average_then_norm" if v.final_ln_after_pool else "average"
    heads = int(v.transformer.resblocks[0].attn.num_heads)
    height, width = v.image_size
    return Tower(
        image_size=(int(height), int(width)),
        pixel_mean=tuple(float(x) for x in mean),  # type: ignore[arg-type]
        pixel_deviation=tuple(float(x) for x in deviation),  # type: ignore[arg-type]
        patch=Linear(patch.clone(), torch.zeros(patch.shape[0])),
        class_token=v.class_embedding.detach().float().clone(),
        position=v.positional_embedding.detach().float().clone(),
        norm_pre=None if isinstance(v.ln_pre, nn.Identity) else _norm(v.ln_pre),
        after_norm_pre=None,
        blocks=blocks,
        heads=heads,
        attention_scale=(patch.shape[0] // heads) ** -0.5,
        activation=activation_of(v.transformer.resblocks[0].mlp.gelu),
        pooling="class_token" if v.pool_type == "tok" else average,
        norm_post=_norm(v.ln_post),
        projection=Linear(projection, torch.zeros(projection.shape[0])),
        mean_direction=torch.full((patch.shape[0],), patch.shape[0] ** -0.5),
    )


def _norm(module: Any) -> Norm:
    """A LayerNorm; the weight or bias that norm_kwargs left away are ones and zeros."""
    shape = tuple(module.normalized_shape)
    weight = torch.ones(shape) if module.weight is None else module.weight.detach().float().clone()
    bias = torch.zeros(shape) if module.bias is None else module.bias.detach().float().clone()
    return Norm(weight, bias, float(module.eps))


def _linear(module: Any) -> Linear:
    return Linear(module.weight.detach().float().clone(), module.bias.detach().float().clone())


def _block(module: Any) -> Block:
    attention = module.attn
    weights = attention.in_proj_weight.detach().float().chunk(3)
    biases = attention.in_proj_bias.detach().float().chunk(3)
    query, key, value = (Linear(w.clone(), b.clone()) for w, b in zip(weights, biases, strict=True))

    def scale(layer: Any) -> Tensor | None:
        return layer.gamma.detach().float().clone() if hasattr(layer, "gamma") else None

    return Block(
        norm_1=_norm(module.ln_1),
        query=query,
        key=key,
        value=value,
        out=_linear(attention.out_proj),
        scale_1=scale(module.ls_1),
        norm_2=_norm(module.ln_2),
        fc_1=_linear(module.mlp.c_fc),
        fc_2=_linear(module.mlp.c_proj),
        scale_2=scale(module.ls_2),
    )
