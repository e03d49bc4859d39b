"""What the image tower is asked for: the right name at the last block and at every exit, the last block's answer at the exits, and what the
teacher says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.recipe.plan import Phase
from models.recipe.tower import Seen

SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Kinds:
    """Unit vectors [k, E] of the names of kinds of thing, and for every class the kinds that it is, [classes, k], each row summing to 1."""

    vectors: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> Kinds:
        """The same on another device."""
        return Kinds(self.vectors.to(device), self.shares.to(device))


@dataclass(frozen=True, slots=True)
class Taught:
    """What the teacher says of the same images: its embedding [n, E] and its patch tokens behind the last norm [n, N, D']."""

    embedding: Tensor
    tokens: Tensor


def right_names(classes: Tensor, count: int) -> Tensor:
    """The right class of each image as a smoothed distribution [n, classes]."""
    return F.one_hot(classes, count).float() * (1 - SMOOTHING) + SMOOTHING / count


def logits(embedding: Tensor, bank: Tensor, scale: Tensor | float) -> Tensor:
    """scale cos(e, t) for every label vector t [classes, E]."""
    return scale * F.normalize(embedding, dim=-1) @ bank.T


def loss(
    phase: Phase,
    seen: Seen,
    targets: Tensor,
    bank: Tensor,
    *,
    kinds: Kinds | None,
    scale: Tensor,
    taught: Taught | None,
    bridge: nn.Linear | None,
) -> Tensor:
    """The weighted sum that a phase asks for; `targets` is a distribution over the classes [n, classes].

    A cross entropy with `targets` at the last block; at exits half of that and half of the cross entropy with the last block's answer
    (which the exits do not pull at); a cross entropy with the kinds of the targets, each as likely as the next; with a teacher its answers,
    embedding and tokens, the latter where both have as many.
    """
    final = logits(seen.embedding, bank, scale)
    total = phase.names * F.cross_entropy(final, targets)
    answer = final.detach().softmax(-1)
    for done, weight in phase.exits.items():
        early = logits(seen.exits[done], bank, scale)
        total = total + weight * 0.5 * (F.cross_entropy(early, targets) + F.cross_entropy(early, answer))
    if kinds is not None and phase.kinds:
        total = total + phase.kinds * F.cross_entropy(logits(seen.embedding, kinds.vectors, scale), targets @ kinds.shares)
    if taught is not None:
        total = total + _from_teacher(phase, seen, final, bank, scale, taught, bridge)
    if phase.outliers:
        total = total + phase.outliers * seen.outliers
    return total


def _from_teacher(
    phase: Phase, seen: Seen, final: Tensor, bank: Tensor, scale: Tensor, taught: Taught, bridge: nn.Linear | None
) -> Tensor:
    total = phase.answers * F.cross_entropy(final, logits(taught.embedding, bank, scale.detach()).softmax(-1))
    total = total + phase.embedding * (1 - F.cosine_similarity(seen.embedding, taught.embedding, dim=-1)).mean()
    if phase.tokens and bridge is not None and seen.tokens.shape[1] == taught.tokens.shape[1]:
        total = total + phase.tokens * (1 - F.cosine_similarity(bridge(seen.tokens), taught.tokens, dim=-1)).mean()
    return total
