"""What heads learn from: images with right names, and what one random view of them gives to read and to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from convert.heads import augment
from convert.heads.tokens import BATCH, Reader
from convert.model.tower import Tower

Watch = Callable[[Sequence[Tensor]], Iterable[Tensor]]  # the items as they are, shown while they are gone through


@dataclass(frozen=True, slots=True)
class Names:
    """One list of names: their vectors [labels, E], and the right one of every image [n], -1 where the list has none for it."""

    vectors: NDArray[np.float32]
    right: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Images as tensors int8 [all, H, W, 3], which may lie on disk, and the rows [n] of those to learn from.

    `lists` are the names by which these n are told, `logit_scale` is the tower's.
    """

    images: NDArray[np.int8]
    rows: NDArray[np.int64]
    lists: tuple[Names, ...]
    logit_scale: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Tokens [n, blocks, 1 + N, D] in float16, the class token first, the whole tower's unit embeddings [n, E], and what is right.

    `right` [n, labels of all lists side by side] holds the shares of the right names: a one, two shares where two images are mixed, zeros
    where a list names nothing of it.
    """

    tokens: Tensor
    final: Tensor
    right: Tensor


def view(
    tower: Tower, read: Reader, examples: TrainingSet, part: Tensor, smallest: float, source: Generator, watch: Watch
) -> Seen:
    """One view of the images numbered `part`: crops of at least `smallest` of their area, every other batch mixed in pairs.

    `tower` is one that no rewrite has touched, `read` gives its tokens, `watch` shows how far the batches are.
    """
    mean, deviation = (torch.tensor(values) for values in (tower.pixel_mean, tower.pixel_deviation))
    seen: Seen | None = None
    for number, chosen in enumerate(watch(torch.split(part, BATCH))):
        pixels = torch.from_numpy(examples.images[examples.rows[chosen.numpy()]].view(np.uint8) ^ np.uint8(128))
        x = augment.views(pixels, tower.image_size, mean, deviation, smallest, source)
        right = torch.cat([_shares(names, chosen.numpy()) for names in examples.lists], 1)
        if number % 2:
            x, right = augment.mixed(x, right, source)
        x = x * deviation.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)  # what the reader wants: the colours as they are
        tokens, final = read(x.permute(0, 2, 3, 1))
        batch = (tokens.half(), F.normalize(final, dim=1), right)
        if seen is None:  # filled as it comes: to join the batches at the end would take the memory twice
            seen = Seen(*(values.new_empty(len(part), *values.shape[1:]) for values in batch))
        for whole, values in zip((seen.tokens, seen.final, seen.right), batch, strict=True):
            whole[number * BATCH : number * BATCH + len(x)] = values
    if seen is None:
        raise ValueError("there is nothing to learn from no images")
    return seen


def _shares(names: Names, chosen: NDArray[np.int64]) -> Tensor:
    """[n, labels]: one at the right name of every image chosen, zeros where there is none."""
    right = torch.from_numpy(names.right[chosen])
    return F.one_hot(right.clamp_min(0), len(names.vectors)).float() * (right >= 0).float()[:, None]
