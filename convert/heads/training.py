"""Heads trained on images: attention over tokens and two layers, towards the right names and the whole tower's answers.

The tower stays as it is, so what it makes of an image is computed once and read several times: every round takes a fresh view of every
image (a crop, mirrored or not, other colours; half of them mixed in pairs) and goes over its tokens a few times. The loss is the
mean of two cross entropies over the labels, one with the right name, one with the distribution that the final embedding gives of the same
view (distillation: Hinton et al., arXiv 1503.02531), summed over all lists of names, and the distance to that embedding: a head speaks the
tower's language, so its embedding is compared with the same label vectors, and with those of names that it was not trained on. Views count
for more than passes: with one view alone a head learns the images by heart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from convert.heads.attending import Attending, sizes
from convert.heads.tokens import Place, normed, of_place, reader
from convert.heads.training_set import Seen, TrainingSet, view
from convert.model.tower import Head, Tower
from convert.support.kept import checkpoint, restored
from convert.support.precision import fast
from convert.support.progress import Progress

ROOM = 2 << 30  # bytes of tokens at a time
CHUNK = 1024  # images hashed at a time


@dataclass(frozen=True, slots=True)
class Schedule:
    """How heads are trained.

    `lean` is the weight of the tower's own answers where right names are known, `closeness` that of the distance to its embedding.
    """

    views: int = 8
    passes: int = 4
    batch: int = 256
    rate: float = 1e-3
    decay: float = 0.05
    dropout: float = 0.3
    smoothing: float = 0.05
    smallest_crop: float = 0.5
    lean: float = 0.5
    closeness: float = 4.0


def train(
    tower: Tower,
    places: Sequence[Place],
    examples: TrainingSet,
    plan: Schedule,
    seed: int,
    progress: Progress,
    kept: Path | None = None,
) -> dict[Place, Head]:
    """A head for each of the places, of a tower that no rewrite has touched.

    After every round the state is kept at `kept`; a call that finds one there of the same tower, images, plan and seed goes on with it,
    and gives what it would have given without a break.
    """
    torch.manual_seed(seed)
    blocks = tuple(sorted({place.block for place in places}))
    heads = nn.ModuleList(
        Attending(tower.width, tower.embedding_size, tower.activation, plan.dropout, place.class_token) for place in places
    )
    optimizer = torch.optim.AdamW(heads.parameters(), lr=plan.rate, weight_decay=plan.decay)
    parts = _parts(len(examples.rows), 2 * len(blocks) * tower.tokens * tower.width)
    steps = plan.views * sum(_steps(size, plan) for size in parts)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=steps)
    learner, key = _Learner(heads, optimizer, course), _key(tower, places, examples, plan, seed)
    read, first = reader(tower, blocks, quick=True), learner.resume(kept, key, progress)
    for number in range(first, plan.views):
        source = Generator().manual_seed((seed << 16) + number)
        torch.manual_seed((seed << 16) + number)  # of the dropout
        for part in torch.split(torch.randperm(len(examples.rows), generator=source), list(parts)):
            what = f"view {number + 1} of {plan.views}"
            watch = partial(_watched, progress, f"{what}: tokens")
            seen = view(tower, read, examples, part, plan.smallest_crop, source, watch)
            for chosen in progress.over(_batches(len(part), plan, source), _steps(len(part), plan), f"{what}: heads"):
                learner.step(_loss(heads, places, tower, seen, chosen, examples, plan))
            del seen  # before the next part is read
        learner.keep(kept, key, number + 1)
    return {place: head.head() for place, head in zip(places, learner.trained(), strict=True)}


def _watched(progress: Progress, what: str, items: Sequence[Tensor]) -> Iterator[Tensor]:
    return progress.over(items, len(items), what)


@dataclass(frozen=True, slots=True)
class _Learner:
    """What training changes."""

    heads: nn.ModuleList
    optimizer: torch.optim.Optimizer
    course: torch.optim.lr_scheduler.LRScheduler

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.course.step()

    def trained(self) -> list[Attending]:
        return [head for head in self.heads if isinstance(head, Attending)]

    def keep(self, path: Path | None, key: str, rounds: int) -> None:
        if path is not None:
            state = {"key": key, "rounds": rounds, "heads": self.heads.state_dict()}
            checkpoint(path, {**state, "optimizer": self.optimizer.state_dict(), "course": self.course.state_dict()})

    def resume(self, path: Path | None, key: str, progress: Progress) -> int:
        """The rounds that the state at `path` has behind it, taken over by this learner; 0 where there is none of this key."""
        if path is None or not path.is_file():
            return 0
        try:
            state = restored(path)
        except Exception:  # torch's and pickle's own errors for a damaged file
            progress.step(f"{path} cannot be read: training starts anew")
            return 0
        if state.get("key") != key:
            return 0
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.course.load_state_dict(state["course"])
        progress.step(f"going on after view {state['rounds']}, from {path}")
        return int(state["rounds"])


def _loss(
    heads: nn.ModuleList,
    places: Sequence[Place],
    tower: Tower,
    seen: Seen,
    chosen: Tensor,
    examples: TrainingSet,
    plan: Schedule,
) -> Tensor:
    """The sum of what each of the heads, which read at `places`, loses on the images chosen, by each of the lists of names."""
    final, total = seen.final[chosen], torch.zeros(())
    rights = torch.split(seen.right[chosen], [len(names.vectors) for names in examples.lists], 1)
    blocks = sorted({place.block for place in places})
    behind = dict(zip(blocks, normed(seen.tokens[chosen].float(), tower.norm_post).unbind(1), strict=True))
    for head, place in zip(heads, places, strict=True):
        with fast(torch.device("cpu")):
            found = head(of_place(behind[place.block], place.class_token))
        found = F.normalize(found.float(), dim=1)
        total = total + plan.closeness * (1 - (found * final).sum(1).mean())
        for names, right in zip(examples.lists, rights, strict=True):
            bank = examples.logit_scale * torch.from_numpy(names.vectors).T
            logits, answers = found @ bank, (final @ bank).softmax(1)
            known = right.sum(1, keepdim=True)
            named = F.cross_entropy(logits, right * (1 - plan.smoothing) + known * plan.smoothing / len(names.vectors))
            # Where the right name is not known, the tower's answer is all there is.
            total = total + (1 - plan.lean) * named + F.cross_entropy(logits, answers * (1 - (1 - plan.lean) * known))
    return total


def _steps(count: int, plan: Schedule) -> int:
    return plan.passes * max(count // plan.batch, 1)


def _batches(count: int, plan: Schedule, source: Generator) -> Iterator[Tensor]:
    """All of `count` in batches that differ by one image at most, so that none is small, and again for every pass."""
    for _ in range(plan.passes):
        yield from torch.randperm(count, generator=source).tensor_split(max(count // plan.batch, 1))


def _parts(count: int, size: int) -> tuple[int, ...]:
    """How many images are read at a time: equal parts of all, patch tokens of `size` bytes each, that fit into the room."""
    return tuple(len(part) for part in np.array_split(np.arange(count), -(-count * size // ROOM)))


def _key(tower: Tower, places: Sequence[Place], examples: TrainingSet, plan: Schedule, seed: int) -> str:
    """What a kept state belongs to."""
    found = hashlib.sha256(repr((tuple(places), sizes(tower.width), plan, seed, examples.logit_scale)).encode())
    weights = (layer.weight for block in tower.blocks for layer in (block.query, block.value, block.fc_1, block.fc_2))
    for tensor in (tower.patch.weight, *weights, tower.projection.weight):
        found.update(tensor.numpy().tobytes())
    for values in (examples.rows, *(part for names in examples.lists for part in (names.vectors, names.right))):
        found.update(np.ascontiguousarray(values).tobytes())
    for start in range(0, len(examples.rows), CHUNK):
        found.update(examples.images[examples.rows[start : start + CHUNK]].tobytes())
    return found.hexdigest()
