"""Zero-shot top-1 of a tower at its last block and, read by SSA, at every block asked for; with 95 % intervals (Wilson)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from models.recipe import tower
from models.recipe.losses import logits


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    right: int
    of: int

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{100 * self.right / max(self.of, 1):.2f} % ({100 * low:.1f} to {100 * high:.1f})"

    def interval(self, z: float = 1.959964) -> tuple[float, float]:
        """Wilson's interval of the share."""
        if not self.of:
            return 0.0, 1.0
        p, n = self.right / self.of, self.of
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@dataclass(frozen=True, slots=True)
class Score:
    """Top-1 and top-5 of the last block, top-1 of SSA by blocks done."""

    top1: Share
    top5: Share
    exits: dict[int, Share]

    def line(self) -> str:
        """For a log."""
        exits = ", ".join(f"block {done} {share}" for done, share in self.exits.items())
        return f"top-1 {self.top1}, top-5 {self.top5}" + (f"; SSA at {exits}" if exits else "")


@torch.no_grad()
def score(visual: Any, batches: Iterator[tuple[Tensor, Tensor]], bank: Tensor, exits: Collection[int]) -> Score:
    """Over batches of normalised pictures and their classes."""
    device, source = bank.device, Generator()
    right, among, count = 0, 0, 0
    early = dict.fromkeys(sorted(exits), 0)
    for x, classes in batches:
        seen = tower.run(visual, x.to(device), exits, source)
        classes = classes.to(device)
        best = logits(seen.embedding, bank, 1.0).topk(min(5, len(bank))).indices
        right += int((best[:, 0] == classes).sum())
        among += int((best == classes[:, None]).any(1).sum())
        count += len(classes)
        for done in early:
            early[done] += int((logits(seen.exits[done], bank, 1.0).argmax(-1) == classes).sum())
    return Score(Share(right, count), Share(among, count), {done: Share(n, count) for done, n in early.items()})


def batches(pictures: Sequence[Any], classes: Sequence[int], preprocess: Any, size: int = 101) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures through open_clip's own preprocessing, in batches."""
    for i in range(0, len(pictures), size):
        yield torch.stack([preprocess(p) for p in pictures[i : i + size]]), torch.tensor(classes[i : i + size])
