"""What exits' heads read: the tokens after a block, from the float tower, and what comes of them behind norm_post."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Norm, Tower
from convert.rewrites import input_normalisation
from convert.stages.run import batches, walk
from convert.stages.stage import build_stages
from convert.support.precision import fast
from convert.support.progress import Progress

BATCH = 64  # images at a time in training too

Reader = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a head reads: after so many blocks, the patch tokens, with `class_token` that one too."""

    block: int
    class_token: bool = False


def of_place(tokens: Tensor, class_token: bool) -> Tensor:
    """Of tokens [n, 1 + N, D] those that a head reads."""
    return tokens if class_token else tokens[:, 1:]


def reader(tower: Tower, blocks: Sequence[int], quick: bool = False) -> Reader:
    """What gives, of pixels [n, H, W, 3] in 0..1, the tokens [n, blocks, 1 + N, D] after each block, the class token first, and the
    embeddings [n, E].

    `quick`: products in bfloat16 where the machine has units for them.
    """
    plain = input_normalisation.apply(tower, RewriteInputs())
    stages = build_stages(plain if isinstance(plain, Tower) else tower, tuple(blocks))

    def read(batch: Tensor) -> tuple[Tensor, Tensor]:
        with fast(torch.device("cpu")) if quick else nullcontext():
            *exits, final = walk(stages, batch)
        return torch.stack([outputs["hidden"].float() for outputs in exits], 1), final["embedding"].float()

    return read


def normed(tokens: Tensor, norm: Norm) -> Tensor:
    """norm_post of tokens [..., D], in a tower that no rewrite has touched."""
    return F.layer_norm(tokens, tokens.shape[-1:], norm.weight, norm.bias, norm.eps)


def mean_tokens(
    tower: Tower, blocks: Sequence[int], images: NDArray[np.int8], progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """norm_post of the mean patch token [n, blocks, D] after each of the blocks, and final embeddings [n, E], of images [n, H, W, 3]."""
    read, means, embeddings = reader(tower, blocks), [], []
    for batch in batches(images, progress, "what the exits see", BATCH):
        tokens, final = read(batch)
        means.append(normed(tokens[:, :, 1:].mean(2), tower.norm_post).numpy())
        embeddings.append(final.numpy())
    return np.concatenate(means), np.concatenate(embeddings)
