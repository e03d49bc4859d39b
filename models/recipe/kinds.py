"""Vectors for kinds of thing ("dog", "car") in the space of a classifier that knows what is of the kind (breeds, models).

The mean of the classes' vectors is no vector for the kind: each of them beats it. What serves is that the kind's logit is the log sum of
the exponentials of its classes' logits: softmax then gives the kind what its classes had together. `least_squares` fits that on the
embeddings e of pictures, of which no label is asked; `distilled` goes on from there by what counts in the end, the cross entropy between
the shares of all kinds that stand beside one another and what the classes say.

Embeddings of a classifier end in 0, and its label vectors in what makes them unit vectors (`tools/deit_tiny.py`): `on_sphere` gives
vectors of any length that last number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

RIDGE = 3.0
NOISE = 0.02  # put on the embeddings, so that few pictures are not learned by heart


@dataclass(frozen=True, slots=True)
class Teaching:
    """Unit embeddings [n, E] of pictures, the classes' unit vectors [classes, E], and the scale of their cosines as logits."""

    embeddings: Tensor
    classes: Tensor
    scale: float

    def logits(self, embeddings: Tensor) -> Tensor:
        """Of the classes [n, classes]."""
        found: Tensor = self.scale * embeddings @ self.classes.T
        return found


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long `distilled` learns, and how much it is held to where it began: `anchor` times the squared distance of a vector.

    `told` is the share of the target that the name of a picture has, where it is known; the classes' answers have the rest.
    """

    steps: int = 500
    batch: int = 768
    rate: float = 1.5e-3
    anchor: float = 5.0
    told: float = 0.65


def least_squares(teaching: Teaching, kinds: Sequence[Sequence[int]]) -> Tensor:
    """Vectors v [kinds, E], of any length: min sum (s v e - log sum_c exp(s v_c e))^2 + RIDGE |s v|^2 over the embeddings e.

    A kind of one class has that class's vector. Raises ValueError for a kind of none.
    """
    if empty := [number for number, members in enumerate(kinds) if not len(members)]:
        raise ValueError(f"kind {empty[0]} has no class, so nothing is known of it")
    if not kinds:
        return teaching.classes[:0]
    e, logits = teaching.embeddings.double(), teaching.logits(teaching.embeddings).double()
    wanted = torch.stack([torch.logsumexp(logits[:, list(members)], 1) for members in kinds], 1)
    square = e.T @ e + RIDGE * torch.eye(e.shape[1], dtype=torch.float64)
    found: Tensor = (torch.linalg.solve(square, e.T @ wanted).T / teaching.scale).float()
    for number, members in enumerate(kinds):
        if len(members) == 1:
            found[number] = teaching.classes[members[0]]
    return found


def distilled(
    teaching: Teaching,
    kinds: Sequence[Sequence[int]],
    plan: Schedule | None = None,
    seed: int = 0,
    shown: Tensor | None = None,
) -> Tensor:
    """Vectors [kinds, E] from `least_squares`, trained beside one another and beside the classes that are of no kind.

    The target is what the classes' softmax says: the sum over a kind's classes; a class of several kinds counts for each. `shown` [n]
    is the kind on each picture, -1 where it is not known. A kind of one class keeps that class's vector; one of none is learned from
    pictures of it alone. Raises ValueError for a kind of neither.
    """
    plan, count = plan or Schedule(), len(teaching.classes)
    right = torch.full((len(teaching.embeddings),), -1) if shown is None else shown
    without = {k for k, members in enumerate(kinds) if not members}
    if lost := sorted(without - set(right.tolist())):
        raise ValueError(f"kind {lost[0]} has no class and no picture, so nothing is known of it")
    begun = torch.zeros(len(kinds), teaching.classes.shape[1])
    with_classes = [k for k in range(len(kinds)) if k not in without]
    begun[with_classes] = least_squares(teaching, [kinds[k] for k in with_classes])
    free = torch.tensor([[float(len(members) != 1)] for members in kinds])
    of = torch.zeros(count, len(kinds))
    for number, members in enumerate(kinds):
        of[list(members), number] = 1
    lone = (of.sum(1) == 0).nonzero().flatten()
    of = torch.cat([of, F.one_hot(lone, count).float().T], 1)
    moved = torch.zeros_like(begun).requires_grad_(True)
    optimizer, source = torch.optim.Adam([moved], lr=plan.rate), Generator().manual_seed(seed)
    for _ in range(plan.steps):
        chosen = torch.randint(len(teaching.embeddings), (plan.batch,), generator=source)
        e, name = teaching.embeddings[chosen], right[chosen]
        e = F.normalize(e + NOISE * torch.randn(e.shape, generator=source), dim=1)
        shares = F.normalize(teaching.logits(e).softmax(1) @ of, p=1, dim=1)
        told = plan.told * (name >= 0).float()[:, None]
        shares = (1 - told) * shares + told * F.one_hot(name.clamp_min(0), of.shape[1])
        logits = teaching.scale * e @ torch.cat([begun + free * moved, teaching.classes[lone]]).T
        loss = F.cross_entropy(logits, shares) + plan.anchor * moved.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (begun + free * moved).detach()


def on_sphere(vectors: Tensor) -> tuple[Tensor, float]:
    """Unit vectors [n, E] that order embeddings ending in 0 as `vectors` do, and by how much more the logits' scale has to be.

    All but the last number of each are divided by the length of the longest; the last makes up for what its length then lacks.
    """
    heard = vectors[:, :-1].double()
    longest = heard.norm(dim=1).max()
    heard = heard / longest
    rest = (1 - heard.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    return torch.cat([heard, rest], 1).float(), float(longest)
