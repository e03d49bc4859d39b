"""A narrow tower that starts from what a wide one knows, instead of from nothing.

The wide tower's norms and layer scales are folded away and its stream centred, so that the stream may be mapped linearly: it is cut to the
principal directions of what the norms put out, S [D', D] with orthonormal rows (SliceGPT, arXiv 2401.15024), which is exact but for what is
cut off. In every block the heads and hidden units that put most into the stream are kept, and the layer behind them is fitted anew by least
squares: to what the wide stream, cut, has after it and the narrow one does not have yet. So later layers make up for earlier ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Block, Linear, Norm, Tower
from convert.rewrites import LADDER, rewrite
from convert.rewrites.stream_map import map_readers

FOLDED = ("norm-affine", "layer-scale", "centring")
RIDGE = 1e-3  # of the mean diagonal of the inputs' moments


@dataclass(frozen=True, slots=True)
class Passed:
    """What one block puts out on its way: the heads' mixed values, the stream after attention, the hidden units, the stream after all."""

    mixed: Tensor
    middle: Tensor
    units: Tensor
    end: Tensor


@torch.no_grad()
def narrowed(tower: Tower, pixels: Tensor, width: int, heads: int, hidden: int) -> Tower:
    """A tower `width` wide with so many heads and hidden units, fitted to `tower` on normalised pixels [n, 3, H, W].

    Its norms have no affine, its blocks no layer scale; heads keep their width.
    """
    wide, _ = rewrite(tower, RewriteInputs(), tuple(step for step in LADDER if step.name in FOLDED))
    cut = _directions(wide, pixels, width)
    stream, far = _embedded(wide, pixels) @ cut.T, _embedded(wide, pixels)
    narrow = _cut(wide, cut)
    blocks = []
    for block, old in zip(narrow.blocks, wide.blocks, strict=True):
        passed = run(wide, old, far)
        fitted = _kept_heads(narrow, block, old, passed, heads)
        fitted = _behind_norm(fitted, ("query", "key", "value"), far, cut)
        mixed = _attended(fitted, _normed(stream), heads)
        fitted = dataclasses.replace(fitted, out=_fitted(mixed, passed.middle @ cut.T - stream))
        middle = stream + _apply(fitted.out, mixed)
        fitted = _kept_units(fitted, old, passed, hidden)
        fitted = _behind_norm(fitted, ("fc_1",), passed.middle, cut)
        units = _active(wide, _apply(fitted.fc_1, _normed(middle)))
        fitted = dataclasses.replace(fitted, fc_2=_fitted(units, passed.end @ cut.T - middle))
        stream, far = middle + _apply(fitted.fc_2, units), passed.end
        blocks.append(fitted)
    last = _apply(wide.projection, _normed(far[:, 0]))
    projection = _fitted(_normed(stream[:, 0]), last)
    return dataclasses.replace(narrow, blocks=tuple(blocks), heads=heads, projection=projection)


def state_of(tower: Tower) -> dict[str, Tensor]:
    """open_clip's weights of a tower whose norms have no affine and whose blocks have no layer scale, under `visual.`."""
    ones, zeros = torch.ones(tower.width), torch.zeros(tower.width)
    # open_clip's patch convolution and projection have no bias: the positions take the one, ln_post's bias the other as far as it can.
    before = torch.linalg.lstsq(tower.projection.weight, tower.projection.bias[:, None]).solution[:, 0]
    state = {
        "conv1.weight": tower.patch.weight,
        "class_embedding": tower.class_token,
        "positional_embedding": torch.cat([tower.position[:1], tower.position[1:] + tower.patch.bias]),
        "proj": tower.projection.weight.T.contiguous(),
        "ln_post.weight": ones,
        "ln_post.bias": before,
    }
    for number, block in enumerate(tower.blocks):
        three = (block.query, block.key, block.value)
        mine = {
            "attn.in_proj_weight": torch.cat([p.weight for p in three]),
            "attn.in_proj_bias": torch.cat([p.bias for p in three]),
        }
        for name, layer in (("attn.out_proj", block.out), ("mlp.c_fc", block.fc_1), ("mlp.c_proj", block.fc_2)):
            mine |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        for name in ("ln_1", "ln_2"):
            mine |= {f"{name}.weight": ones, f"{name}.bias": zeros}
        state |= {f"transformer.resblocks.{number}.{name}": value for name, value in mine.items()}
    return {f"visual.{name}": value.clone() for name, value in state.items()}


def run(tower: Tower, block: Block, stream: Tensor) -> Passed:
    """One block of a folded tower over a stream [n, T, D]."""
    mixed = _attended(block, _normed(stream), tower.heads)
    middle = stream + _apply(block.out, mixed)
    units = _active(tower, _apply(block.fc_1, _normed(middle)))
    return Passed(mixed, middle, units, middle + _apply(block.fc_2, units))


def _directions(wide: Tower, pixels: Tensor, width: int) -> Tensor:
    """S [width, D]: the principal directions of all norms' outputs, laid into the hyperplane of vectors of zero mean: what a LayerNorm
    takes away is nought then."""
    stream = _embedded(wide, pixels)
    moments = torch.zeros(wide.width, wide.width, dtype=torch.float64)
    for block in wide.blocks:
        passed = run(wide, block, stream)
        for x in (stream, passed.middle, passed.end):
            rows = _normed(x).reshape(-1, wide.width).double()
            moments += rows.T @ rows / len(rows)
        stream = passed.end
    strongest = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, : width - 1]
    plane = torch.linalg.qr(torch.eye(width, dtype=torch.float64) - 1 / width).Q[:, : width - 1]
    directions: Tensor = (plane @ strongest.T).float()
    return directions


def _cut(wide: Tower, cut: Tensor) -> Tower:
    """The tower with S before its readers and behind patch, class token and positions; the blocks' writers are still the wide one's."""
    read = map_readers(wide, cut.T)
    patch = Linear(torch.einsum("ij,jchw->ichw", cut, wide.patch.weight), cut @ wide.patch.bias)
    mean = torch.full((len(cut),), len(cut) ** -0.5)
    return dataclasses.replace(
        read, patch=patch, class_token=cut @ wide.class_token, position=wide.position @ cut.T, mean_direction=mean,
        norm_post=Norm(None, None, wide.norm_post.eps),
    )  # fmt: skip


def _kept_heads(narrow: Tower, block: Block, old: Block, passed: Passed, heads: int) -> Block:
    """The heads that put most into the stream: E |W_out,i x_i|^2."""
    size = old.query.weight.shape[0] // narrow.heads
    parts = passed.mixed.reshape(*passed.mixed.shape[:-1], -1, size)
    writes = old.out.weight.reshape(len(old.out.weight), -1, size)
    strength = torch.stack([(parts[..., i, :] @ writes[:, i].T).pow(2).mean() for i in range(parts.shape[-2])])
    kept = strength.topk(heads).indices.sort().values
    rows = (kept[:, None] * size + torch.arange(size)).flatten()
    query, key, value = (Linear(p.weight[rows], p.bias[rows]) for p in (block.query, block.key, block.value))
    return dataclasses.replace(block, query=query, key=key, value=value)


def _kept_units(block: Block, old: Block, passed: Passed, hidden: int) -> Block:
    """The hidden units that put most into the stream: E u^2 |w|^2."""
    strength = passed.units.flatten(0, -2).pow(2).mean(0) * old.fc_2.weight.pow(2).sum(0)
    kept = strength.topk(hidden).indices.sort().values
    return dataclasses.replace(block, fc_1=Linear(block.fc_1.weight[kept], block.fc_1.bias[kept]))


def _behind_norm(block: Block, readers: tuple[str, ...], far: Tensor, cut: Tensor) -> Block:
    """Readers of a norm whose input lost length: n'(S h) = S n(h) sqrt(D'/D) |h| / |S h|, so W <- W sqrt(D/D') E[|S h| / |h|]."""
    left = ((far @ cut.T).norm(dim=-1) / far.norm(dim=-1)).mean()
    scale = float(left) * (cut.shape[1] / cut.shape[0]) ** 0.5
    changed: dict[str, Any] = {name: Linear(getattr(block, name).weight * scale, getattr(block, name).bias) for name in readers}
    return dataclasses.replace(block, **changed)


def _fitted(inputs: Tensor, targets: Tensor) -> Linear:
    """The layer that gives the targets with the least squared error, and a little ridge."""
    x, y = (t.reshape(-1, t.shape[-1]).double() for t in (inputs, targets))
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    moments = x.T @ x
    moments += RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=torch.float64)
    weight = torch.linalg.solve(moments, x.T @ y).T
    return Linear(weight.float().contiguous(), (mean_y - weight @ mean_x).float())


def _embedded(tower: Tower, pixels: Tensor) -> Tensor:
    """The stream [n, T, D] before the first block."""
    patches = F.conv2d(pixels, tower.patch.weight, tower.patch.bias, stride=tower.patch_size).flatten(2).transpose(1, 2)
    tokens = torch.cat([tower.class_token.expand(len(pixels), 1, -1), patches], 1)
    return tokens + tower.position


def _attended(block: Block, x: Tensor, heads: int) -> Tensor:
    """The heads' mixed values [n, T, heads * size], side by side."""
    query, key, value = (
        _apply(p, x).reshape(*x.shape[:-1], heads, -1).transpose(1, 2) for p in (block.query, block.key, block.value)
    )
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _active(tower: Tower, x: Tensor) -> Tensor:
    return F.gelu(x) if tower.activation == "gelu" else x * torch.sigmoid(1.702 * x)


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _apply(layer: Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)
