"""CLIP models that are hard to quantize, made of easy ones: outlier channels and high-norm tokens, as large CLIP towers grow them.

Everything here takes a model of open_clip's and gives a changed copy of it, so that a planted model takes the same way as any other and
open_clip itself says what its float embeddings are. What stands between the stream and its readers is made plain first (`plain`): then
a linear layer reads n(h) = (h - mean) / deviation itself, and writes into h itself.

Two facts carry the rest. A matrix Q with Q Q^T = 1 and Q 1 = 1 commutes with n, so writers Q W and readers W Q^T are the same function
(`mapped`). And a direction u that no reader listens to (W <- W (1 - u u^T), `deafened`) can carry anything: only the length of h tells.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.samples import pixels
from convert.model.load import ClipModel

LOUDNESS = 1.25  # what the planted channel carries, in norms of the token: a channel tens of times the median one
HIGH_NORM = 10.0  # times the median token's norm, a hundred times its variance
SINK = 1  # the image's upper left corner, where little is lost
TAG = 4.0  # times what ln_pre puts out: more would be an outlier in the table of positions, and it is no test of weights
SLOPE, FIRST = 0.8, 2  # of the hidden units that make a high-norm token grow, and the block from which on they do


def outlier_channels(model: ClipModel, images: NDArray[np.int8], loudness: float = LOUDNESS) -> tuple[ClipModel, ClipModel]:
    """The changed float baseline, and the same function on a turned stream in which one channel is tens of times the median one.

    Large constants that a tower did not grow in training cannot be added without changing it: they drown the length of h, which n(h)
    divides by. What can be added is a multiple of that length, a constant after the norm. So the baseline writes (1 + k u w^T) h, with
    k `loudness`, u a direction that no reader listens to any more, and w h the best linear guess at |h|, made on the images; its readers
    are multiplied by what n(h) has become smaller. Then Q, exact, turns u onto the channel that was the stillest.
    """
    visual = plain(model.module.visual)
    if has_norm_pre(visual):  # its affine is one factor a channel, which the map would make a matrix
        raise ValueError(
            "a tower with ln_pre cannot be turned as a module; its ln_pre can carry the constant: `outlier_norm_pre`"
        )
    streams = norm_inputs(visual, model, images)
    u = quiet_direction(streams)
    w = length_direction(streams, u)
    factors = [float((1 + (loudness * unit(h[:, 1:]) @ w) ** 2).median() ** 0.5) for h in streams]
    one = torch.eye(len(u), dtype=torch.float64)
    baseline = mapped(deafened(visual, u, factors), one + loudness * torch.outer(u, w), one)
    sizes = torch.stack([size / size.median() for size in channel_sizes(streams)])
    matrix = onto_channels(u[:, None], (int(sizes.amax(0).argmin()),))
    return with_tower(model, baseline), with_tower(model, mapped(baseline, matrix, matrix.T))


def outlier_norm_pre(model: ClipModel, size: float, channels: tuple[int, ...]) -> ClipModel:
    """The changed float baseline of a tower with ln_pre: its bias gives these channels a constant of `size`, others being near 1."""
    visual = copy.deepcopy(model.module.visual)
    signs = torch.tensor([(-1.0) ** k for k in range(len(channels))])
    visual.ln_pre.bias.data[list(channels)] += size * signs
    return with_tower(model, visual)


def high_norm_tokens(model: ClipModel, images: NDArray[np.int8], times: float = HIGH_NORM) -> ClipModel:
    """The changed float baseline in which one patch token has `times` the norm of the median token, from an early block to the last.

    Its position carries a tag along u, a direction that no reader listens to but one hidden unit in each MLP, taken from the least used:
    it fires for n u > sqrt(D) / 3, for nobody else, and writes as much of u as is lacking. That is how high-norm tokens come about in
    trained towers (Sun et al., "Massive Activations", 2402.17762; Darcet et al., "registers", 2309.16588).
    """
    visual = plain(model.module.visual)
    streams = norm_inputs(visual, model, images)
    norms = [float(token_norms(h)[:, 1:].median()) for h in streams]
    u = quiet_direction(streams)
    planted = deafened(visual, u, [1.0] * len(streams))
    u, size = u.float(), norms[0]
    planted.positional_embedding.data[SINK] += size * u
    if has_norm_pre(
        visual
    ):  # it makes all tokens about equally long, and of one that is nearly all tag a tag of about that length
        planted.positional_embedding.data[SINK] += TAG * size * u / visual.ln_pre.weight
    for number, block in enumerate(planted.transformer.resblocks[:-1], start=1):
        if number < FIRST:
            continue
        norm, wanted = norms[2 * number - 1], times * norms[2 * number]
        loudness = len(u) ** 0.5 * size / (size**2 + norm**2) ** 0.5
        threshold = len(u) ** 0.5 / 3
        unit = int(block.mlp.c_proj.weight.norm(dim=0).argmin())
        block.mlp.c_fc.weight.data[unit] = SLOPE * u
        block.mlp.c_fc.bias.data[unit] = -SLOPE * threshold
        block.mlp.c_proj.weight.data[:, unit] = (wanted - size) / (SLOPE * (loudness - threshold)) * u
        size = wanted
    return with_tower(model, planted)


def norm_inputs(visual: Any, model: ClipModel, images: NDArray[np.int8]) -> list[Tensor]:
    """What each block's two norms read and what the last block puts out, [n, T, D] each."""
    found: list[Tensor] = []
    norms = [norm for block in visual.transformer.resblocks for norm in (block.ln_1, block.ln_2)]
    hooks = [norm.register_forward_pre_hook(lambda _, given: found.append(given[0])) for norm in norms]
    hooks.append(visual.transformer.register_forward_hook(lambda _, __, result: found.append(result)))
    try:
        with_tower(model, visual).encode(torch.from_numpy(pixels(images)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def unit(h: Tensor) -> Tensor:
    """Every token [.., D] centred over channels, of length 1, in float64."""
    h = h.double()
    return torch.nn.functional.normalize(h - h.mean(-1, keepdim=True), dim=-1)


def token_norms(h: Tensor) -> Tensor:
    """The norm of every token of [n, T, D], centred over channels."""
    return (h - h.mean(-1, keepdim=True)).norm(dim=-1)


def channel_sizes(streams: list[Tensor]) -> list[Tensor]:
    """Each channel's typical magnitude: its mean absolute value over images and tokens [D], of every stream centred over channels."""
    return [(h - h.mean(-1, keepdim=True)).abs().flatten(0, 1).mean(0) for h in streams]


def quiet_direction(streams: list[Tensor]) -> Tensor:
    """The unit vector [D], orthogonal to the ones, along which the normed streams have least energy."""
    second = sum(unit(h).flatten(0, 1).T @ unit(h).flatten(0, 1) for h in streams)
    assert isinstance(second, Tensor)
    return torch.linalg.eigh(second + torch.ones_like(second) * second.trace())[1][:, 0]


def length_direction(streams: list[Tensor], u: Tensor) -> Tensor:
    """The w [D], orthogonal to `u` and to the ones, for which w h is closest to |h|: least squares of w h / |h| - 1 over all tokens.

    The class token counts as half of them: it is what the embedding is made of.
    """
    tokens = streams[0].shape[1]
    weight = torch.ones(tokens, 1, dtype=torch.float64)
    weight[0] = tokens / 2
    rows = [unit(h) - torch.outer((unit(h) @ u).flatten(), u).reshape(h.shape) for h in streams]
    gram = sum((row * weight).flatten(0, 1).T @ row.flatten(0, 1) for row in rows)
    right = sum((row * weight).flatten(0, 1).sum(0) for row in rows)
    assert isinstance(gram, Tensor) and isinstance(right, Tensor)
    w = torch.linalg.solve(gram + torch.eye(len(u)).double() * 1e-2 * gram.trace() / len(u), right)
    w = w - u * (w @ u)
    return w - w.mean()


def plain(visual: Any) -> Any:
    """The same function, to rounding, with norms that have weight 1 and bias 0, and LayerScale 1.

    Readers W (w n + b) + c = (W diag(w)) n + (c + W b), writers g (W x + b) = (diag(g) W) x + g b. The projection has no bias of its
    own, so ln_post keeps one: the b' with P'^T b' = P^T b. ln_pre stays as it is, the stream itself is what it puts out.
    """
    visual = copy.deepcopy(visual)
    with torch.no_grad():
        for block in visual.transformer.resblocks:
            for norm, weight, bias in _readers(block):
                bias += weight @ norm.bias
                weight *= norm.weight
                norm.weight.fill_(1.0)
                norm.bias.zero_()
            for scale, writer in ((block.ls_1, block.attn.out_proj), (block.ls_2, block.mlp.c_proj)):
                if hasattr(scale, "gamma"):
                    writer.weight *= scale.gamma[:, None]
                    writer.bias *= scale.gamma
                    scale.gamma.fill_(1.0)
        factor = visual.ln_post.weight.clone()
        visual.ln_post.weight.fill_(1.0)
        _project(visual, lambda projection: factor[:, None] * projection)
    return visual


def mapped(visual: Any, writers: Tensor, readers: Tensor) -> Any:
    """A plain tower on the stream M h, M `writers` [D, D], whose readers multiply by `readers` first; in float64."""
    visual = copy.deepcopy(visual)
    with torch.no_grad():
        visual.conv1.weight.copy_((writers @ visual.conv1.weight.double().flatten(1)).reshape(visual.conv1.weight.shape))
        visual.class_embedding.copy_(writers @ visual.class_embedding.double())
        visual.positional_embedding.copy_(visual.positional_embedding.double() @ writers.T)
        for block in visual.transformer.resblocks:
            for _, weight, _ in _readers(block):
                weight.copy_(weight.double() @ readers)
            for writer in (block.attn.out_proj, block.mlp.c_proj):
                writer.weight.copy_(writers @ writer.weight.double())
                writer.bias.copy_(writers @ writer.bias.double())
        _project(visual, lambda projection: readers.T @ projection)
    return visual


def onto_channels(directions: Tensor, channels: tuple[int, ...]) -> Tensor:
    """An orthogonal Q [D, D] with Q 1 = 1 that maps orthonormal `directions` [D, k], orthogonal to 1, onto the channels' own.

    A channel's own direction is e_i less its mean; those of several channels are made orthonormal (symmetrically). Q is a product of
    Householder reflections along d - c, d a direction after those before it, c its channel's: all orthogonal to 1, so 1 stays.
    """
    width = len(directions)
    own = torch.eye(width, dtype=torch.float64)[:, list(channels)] - 1.0 / width
    left, _, right = torch.linalg.svd(own, full_matrices=False)
    matrix = torch.eye(width, dtype=torch.float64)
    for direction, channel in zip((directions.double()).T, (left @ right).T, strict=True):
        mirror = torch.nn.functional.normalize(matrix @ (direction - direction.mean()) - channel, dim=0)
        matrix = matrix - 2 * torch.outer(mirror, mirror @ matrix)
    return matrix


def deafened(visual: Any, u: Tensor, factors: list[float]) -> Any:
    """A plain tower whose readers do not see u, W <- f W (1 - u u^T), f one of `factors` for each norm in order."""
    visual = copy.deepcopy(visual)
    with torch.no_grad():
        given = iter(factors)
        for block in visual.transformer.resblocks:
            for _, weight, _ in _readers(block):
                weight.copy_(next(given) * (weight.double() - torch.outer(weight.double() @ u, u)))
        last = next(given)
        _project(visual, lambda projection: last * (projection - torch.outer(u, u @ projection)))
    return visual


def has_norm_pre(visual: Any) -> bool:
    """Whether the tower has an ln_pre."""
    return not isinstance(visual.ln_pre, torch.nn.Identity)


def _readers(block: Any) -> tuple[tuple[Any, Any, Any], ...]:
    """(norm, weight, bias) of the layers behind a block's norms."""
    attention, first = block.attn, block.mlp.c_fc
    return (block.ln_1, attention.in_proj_weight, attention.in_proj_bias), (block.ln_2, first.weight, first.bias)


def _project(visual: Any, change: Callable[[Tensor], Tensor]) -> None:
    """The projection [D, E] changed; ln_post's bias gives the same embedding as before."""
    projection = visual.proj.double()
    changed = change(projection)
    visual.ln_post.bias.copy_(torch.linalg.pinv(changed.T) @ (projection.T @ visual.ln_post.bias.double()))
    visual.proj.copy_(changed)


def with_tower(model: ClipModel, visual: Any) -> ClipModel:
    """The model with another image tower."""
    module = copy.copy(model.module)
    module._modules = {**model.module._modules, "visual": visual}
    return dataclasses.replace(model, module=module)
