"""What exits' heads read: the mean patch token after a block, behind norm_post, in the float tower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.samples import pixels
from convert.progress import Progress
from convert.rewrites import input_normalisation
from convert.stages import build_stages
from convert.tower import Tower
from convert.walk import walk

BATCH = 64


def pooled_tokens(
    tower: Tower, blocks: Sequence[int], images: NDArray[np.int8], progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs of the heads [n, blocks, D] after each of the blocks, and final embeddings [n, E], of image tensors [n, H, W, 3]."""
    plain = input_normalisation.apply(tower, {})
    stages = build_stages(plain if isinstance(plain, Tower) else tower, tuple(blocks))
    tail = "shifted" if tower.norm_post.bias is not None else "normed"
    inputs, embeddings = [], []
    for start in progress.over(range(0, len(images), BATCH), -(-len(images) // BATCH), f"what the exits see, batches of {BATCH}"):
        heard: dict[str, Tensor] = {}

        def tap(role: str, x: Tensor, heard: dict[str, Tensor] = heard) -> None:
            if "norm_post/" in role and role.endswith(tail):
                heard[role.split("/")[0]] = x

        outputs = walk(stages, torch.from_numpy(pixels(images[start : start + BATCH])), tap)
        inputs.append(
            torch.stack(
                [heard[_place(plain, stage.part.index, done)] for stage, done in zip(stages, blocks, strict=False)], 1
            ).numpy()
        )
        embeddings.append(outputs[-1]["embedding"].numpy())
    return np.concatenate(inputs), np.concatenate(embeddings)


def _place(tower: Tower | str, index: int, done: int) -> str:
    own = isinstance(tower, Tower) and done in tower.exit_heads
    return f"head_{done:02d}" if own else f"stage_{index}"
