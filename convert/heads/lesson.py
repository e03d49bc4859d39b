"""What heads learn from: pictures with right names, and what one random view of them gives to read and to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from convert import augment
from convert.heads.patch_tokens import BATCH, Reader
from convert.progress import Progress
from convert.tower import Tower


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures uint8 [n, H, W, 3], their right labels if known, label vectors [labels, E], the logits' scale."""

    pictures: NDArray[np.uint8]
    labels: Sequence[int] | None
    vectors: NDArray[np.float32]
    logit_scale: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Patch tokens [n, blocks, N, D] in float16, the whole tower's answers [n, labels], and the right ones [n, labels], zero if unknown."""

    tokens: Tensor
    answers: Tensor
    right: Tensor


def view(
    tower: Tower, read: Reader, lesson: Lesson, part: Tensor, smallest: float, source: Generator, progress: Progress, what: str
) -> Seen:
    """One view of the pictures numbered `part`: crops of at least `smallest` of their area, every other batch mixed in pairs.

    `tower` is one that no rewrite has touched, `read` gives its patch tokens.
    """
    bank = torch.from_numpy(lesson.vectors)
    mean, deviation = (torch.tensor(values) for values in (tower.pixel_mean, tower.pixel_deviation))
    seen: list[Seen] = []
    for chosen in progress.over(torch.split(part, BATCH), -(-len(part) // BATCH), what):
        pixels = torch.from_numpy(lesson.pictures[chosen.numpy()])
        x = augment.views(pixels, tower.image_size, mean, deviation, smallest, source)
        right = torch.zeros(len(x), len(bank))
        if lesson.labels is not None:
            right[torch.arange(len(x)), torch.tensor([lesson.labels[int(i)] for i in chosen])] = 1
        if len(seen) % 2:
            x, right = augment.mixed(x, right, source)
        x = x * deviation.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)  # what the reader wants: the colours as they are
        tokens, final = read(x.permute(0, 2, 3, 1))
        seen.append(Seen(tokens.half(), (lesson.logit_scale * F.normalize(final, dim=1) @ bank.T).softmax(1), right))
    return Seen(*(torch.cat([getattr(batch, name) for batch in seen]) for name in Seen.__slots__))
