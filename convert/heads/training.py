"""Heads trained on labelled images: two layers on the pooled token, towards the right names and towards the whole tower's answers.

The tower stays as it is, so what every image gives is computed once and the training itself takes seconds a pass. The loss is the mean of
two cross entropies over the labels, one with the right name, one with the distribution that the final embedding gives (distillation:
Hinton et al., arXiv 1503.02531): the head speaks the tower's language, so its embedding is compared with the same label vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convert.progress import Progress
from convert.supported import Activation
from convert.tower import Head, Linear

HIDDEN = 512
BATCH = 256


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a head is trained; `lean` is the weight of the tower's own answers, 1 where labels are not known."""

    epochs: int = 12
    rate: float = 1e-3
    decay: float = 0.05
    dropout: float = 0.5
    lean: float = 0.5


def train(
    pooled: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    labels: Sequence[int] | None,
    vectors: NDArray[np.float32],
    logit_scale: float,
    activation: Activation,
    seed: int,
    progress: Progress,
    schedule: Schedule | None = None,
) -> Head:
    """The head for inputs [n, D] with the tower's final embeddings [n, E], label vectors [labels, E] and right labels, if known."""
    plan = schedule or Schedule()
    torch.manual_seed(seed)
    x, bank = torch.from_numpy(pooled), torch.from_numpy(vectors)
    targets = (logit_scale * F.normalize(torch.from_numpy(embeddings), dim=1) @ bank.T).softmax(1)
    right = None if labels is None else torch.tensor(labels)
    first, second = nn.Linear(x.shape[1], HIDDEN), nn.Linear(HIDDEN, vectors.shape[1])
    parameters = [*first.parameters(), *second.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=plan.decay)
    batches = max(len(x) // BATCH, 1)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.epochs * batches)
    for _ in progress.over(range(plan.epochs), plan.epochs, "passes over the images"):
        for chosen in torch.randperm(len(x))[: batches * BATCH].chunk(batches):
            hidden = F.dropout(_activate(first(x[chosen]), activation), plan.dropout)
            logits = logit_scale * F.normalize(second(hidden), dim=1) @ bank.T
            loss = F.cross_entropy(logits, targets[chosen])
            if right is not None:
                loss = plan.lean * loss + (1 - plan.lean) * F.cross_entropy(logits, right[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            course.step()
    return Head(tuple(Linear(layer.weight.detach(), layer.bias.detach()) for layer in (first, second)))


def embed(head: Head, pooled: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """The head's embeddings [n, E] of inputs [n, D]."""
    x = torch.from_numpy(pooled)
    for layer in head.layers[:-1]:
        x = _activate(F.linear(x, layer.weight, layer.bias), activation)
    result: NDArray[np.float32] = F.linear(x, head.layers[-1].weight, head.layers[-1].bias).numpy()
    return result


def _activate(x: Tensor, activation: Activation) -> Tensor:
    return F.gelu(x) if activation == "gelu" else x * torch.sigmoid(1.702 * x)
