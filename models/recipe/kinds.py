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
    """How long `distilled` learns, and how much it is held to where it began: `anchor` times the squared distance of a vector."""

    steps: int = 500
    batch: int = 768
    rate: float = 1.5e-3
    anchor: float = 5.0


def least_squares(teaching: Teaching, kinds: Sequence[Sequence[int]]) -> Tensor:
    """Vectors v [kinds, E], of any length: min sum (s v e - log sum_c exp(s v_c e))^2 + RIDGE |s v|^2 over the embeddings e.

    A kind of one class has that class's vector. Raises ValueError for a kind of none.
    """
    if empty := [number for number, members in enumerate(kinds) if not len(members)]:
        raise ValueError(f"kind {empty[0]} has no class, so nothing is known of it")
    e, logits = teaching.embeddings.double(), teaching.logits(teaching.embeddings).double()
    wanted = torch.stack([torch.logsumexp(logits[:, list(members)], 1) for members in kinds], 1)
    square = e.T @ e + RIDGE * torch.eye(e.shape[1], dtype=torch.float64)
    found: Tensor = (torch.linalg.solve(square, e.T @ wanted).T / teaching.scale).float()
    for number, members in enumerate(kinds):
        if len(members) == 1:
            found[number] = teaching.classes[members[0]]
    return found


def distilled(teaching: Teaching, kinds: Sequence[Sequence[int]], plan: Schedule | None = None, seed: int = 0) -> Tensor:
    """Vectors [kinds, E] from `least_squares`, trained beside one another and beside the classes that are of no kind.

    The target is what the classes' softmax says: the sum over a kind's classes; a class of several kinds counts for each.
    """
    plan, begun = plan or Schedule(), least_squares(teaching, kinds)
    count = len(teaching.classes)
    of = torch.zeros(count, len(kinds))
    for number, members in enumerate(kinds):
        of[list(members), number] = 1
    lone = (of.sum(1) == 0).nonzero().flatten()
    of = torch.cat([of, F.one_hot(lone, count).float().T], 1)
    vectors = begun.clone().requires_grad_(True)
    optimizer, source = torch.optim.Adam([vectors], lr=plan.rate), Generator().manual_seed(seed)
    for _ in range(plan.steps):
        chosen = torch.randint(len(teaching.embeddings), (plan.batch,), generator=source)
        e = teaching.embeddings[chosen]
        e = F.normalize(e + NOISE * torch.randn(e.shape, generator=source), dim=1)
        shares = teaching.logits(e).softmax(1) @ of
        logits = teaching.scale * e @ torch.cat([vectors, teaching.classes[lone]]).T
        loss = F.cross_entropy(logits, shares / shares.sum(1, keepdim=True))
        loss = loss + plan.anchor * (vectors - begun).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return vectors.detach()


def on_sphere(vectors: Tensor) -> tuple[Tensor, float]:
    """Unit vectors [n, E] that order embeddings ending in 0 as `vectors` do, and by how much more the logits' scale has to be.

    All but the last number of each are divided by the length of the longest; the last makes up for what its length then lacks.
    """
    heard = vectors[:, :-1].double()
    longest = heard.norm(dim=1).max()
    heard = heard / longest
    rest = (1 - heard.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    return torch.cat([heard, rest], 1).float(), float(longest)
