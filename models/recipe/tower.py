"""The image tower as it is trained: open_clip's own modules, run so that branches can be dropped, noise added and exits read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn


@dataclass(frozen=True, slots=True)
class Seen:
    """What one pass gives: the embedding [n, E], those of the exits by blocks done, patch tokens behind the last norm [n, N, D], and the
    mean over blocks of the logarithm of the strongest channel's share of the stream's power, 0 where all channels are alike."""

    embedding: Tensor
    exits: dict[int, Tensor]
    tokens: Tensor
    outliers: Tensor

    def float(self) -> Seen:
        """The same in float32, as the losses want it."""
        exits = {done: value.float() for done, value in self.exits.items()}
        return Seen(self.embedding.float(), exits, self.tokens.float(), self.outliers.float())


def run(
    visual: Any,
    x: Tensor,
    exits: Collection[int],
    source: Generator,
    noise: float = 0.0,
    drop: float = 0.0,
    readers: nn.ModuleDict | None = None,
) -> Seen:
    """One pass over normalised images [n, 3, side, side]; with `noise` and `drop` 0 the embedding is open_clip's.

    Exits are read by SSA, or by `readers`, see `readers_of`.
    Noise: x <- x + noise rms(x) z behind every block, z standard normal, rms per token: int8 steps on a rotated stream spread like this.
    Drop: each branch is run on a random share 1 - drop of the batch only and its result divided by that share, as DINOv2 does it, so
    that what is dropped costs nothing.
    """
    x = visual._embeds(x).float()  # the stream stays in float32 whatever its branches are computed in
    seen: dict[int, Tensor] = {}
    shares = []
    for done, block in enumerate(visual.transformer.resblocks, 1):
        x = _branch(x, partial(_attended, block), drop, source)
        x = _branch(x, partial(_rewritten, block), drop, source)
        if noise:
            x = x + noise * _rms(x) * torch.randn(x.shape, generator=source).to(x.device)
        power = x.pow(2).mean((0, 1))
        shares.append((power.amax() / power.mean()).log())
        if done in exits:
            seen[done] = pooled(visual, x[:, 1:].mean(1)) if readers is None else readers[str(done)](_both(x))
    normed = visual.ln_post(x)
    return Seen(normed[:, 0] @ visual.proj, seen, normed[:, 1:], torch.stack(shares).mean())


def pooled(visual: Any, token: Tensor) -> Tensor:
    """The embedding [n, E] of a pooled token [n, D]: P^T LN_post(.), the shared head of SSA."""
    embedding: Tensor = visual.ln_post(token) @ visual.proj
    return embedding


def readers_of(exits: Collection[int], width: int, embedding: int) -> nn.ModuleDict:
    """A linear layer for each exit that reads the mean patch token and the class token, each brought to deviation 1."""
    return nn.ModuleDict({str(done): nn.Linear(2 * width, embedding) for done in exits})


def _both(x: Tensor) -> Tensor:
    """[n, 2 D] of tokens [n, 1 + N, D]."""
    both = torch.stack([x[:, 1:].mean(1), x[:, 0]], 1)
    return F.layer_norm(both, both.shape[-1:]).flatten(1)


def _attended(block: Any, x: Tensor) -> Tensor:
    """What the block's attention adds to the stream."""
    added: Tensor = block.ls_1(block.attention(block.ln_1(x)))
    return added


def _rewritten(block: Any, x: Tensor) -> Tensor:
    """What the block's MLP adds to the stream."""
    added: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
    return added


def _branch(x: Tensor, branch: Callable[[Tensor], Tensor], drop: float, source: Generator) -> Tensor:
    """x + branch(x), the branch for a random share of the batch only."""
    if not drop:
        return x + branch(x)
    kept = max(1, round(len(x) * (1 - drop)))
    chosen = torch.randperm(len(x), generator=source)[:kept].to(x.device)
    return torch.index_add(x, 0, chosen, branch(x[chosen]).float() * (len(x) / kept))


def _rms(x: Tensor) -> Tensor:
    """The root mean square of every token over its channels, as a constant."""
    return x.detach().pow(2).mean(-1, keepdim=True).sqrt()
