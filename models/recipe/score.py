"""Zero-shot top-1 of a tower at its last block and, read by SSA, at every block asked for; with 95 % intervals (Wilson)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from calibration.samples import SampleSet, pixels
from convert.report.wilson import wilson
from models.recipe import tower
from models.recipe.losses import logits


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    right: int
    of: int

    def __str__(self) -> str:
        low, high = wilson(self.right / max(self.of, 1), self.of)
        return f"{100 * self.right / max(self.of, 1):.2f} % ({100 * low:.1f} to {100 * high:.1f})"


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
    """Over batches of normalised images and their classes."""
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


def batches(
    shown: SampleSet, classes: Sequence[int], mean: Tensor, deviation: Tensor, size: int = 101
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as the board prepares them, normalised, with their classes."""
    for i in range(0, len(shown), size):
        x = torch.from_numpy(pixels(shown.images[i : i + size])).permute(0, 3, 1, 2)
        yield (x - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1), torch.tensor(classes[i : i + size])
