"""The text tower, distilled: a word gets the direction that a sentence encoder gives it, whatever template it stands in.

What the image tower was trained towards, the classes' names, keeps its direction. Steps can be broken off and gone on with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from convert.support.kept import checkpoint, restored
from models.recipe.plan import Words

TEMPLATES = (
    "{}", "{}", "a photo of a {}.", "a photo of the {}.", "a picture of a {}.", "a blurry photo of a {}.", "a close-up photo of a {}.",
    "a small {}.", "a large {}.", "a drawing of a {}.", "a photo of my {}.", "a cropped photo of a {}.", "a bright photo of a {}.",
    "a dark photo of a {}.", "a low resolution photo of a {}.", "many {}.", "the {}.", "a {}",
    "my {}", "an old {}", "a red {}", "a blue {}",
    "a {} on the table", "a photo of a {} outdoors.", "there is a {} in the picture",
)  # fmt: skip
HELD = 3000  # words kept from training, to be scored on
PARTS = 4  # of a batch, by length
SAVED_EVERY = 300  # seconds


@dataclass(frozen=True, slots=True)
class TrainingTexts:
    """Texts and the unit vectors [n, E] they should have; the first `often` of them must not be missed."""

    texts: Sequence[str]
    vectors: Tensor
    often: int = 0


def held_out(count: int) -> Tensor:
    """Which of so many words are kept from training: always the same ones, at most a quarter.

    Of WordNet's nouns they are those that the first text tower was kept from, so that no tower that started from it has seen them.
    """
    held = torch.zeros(count, dtype=torch.bool)
    held[np.random.default_rng(1).permutation(count)[: min(HELD, count // 4)]] = True
    return held


def encode(model: Any, tokens: Tensor, parts: int = PARTS) -> Tensor:
    """Unit vectors [n, E] by open_clip's text tower; what lies behind a text's end is never looked at.

    Texts of like length go together, in so many `parts`, each cut to its longest.
    """
    lengths = (tokens != 0).sum(1)
    order = lengths.argsort(stable=True)
    table, made = model.token_embedding(tokens[:, : int(lengths.max())]), []  # once: its gradient is as large as the table
    for part in order.tensor_split(parts):
        if len(part):
            length = int(lengths[part].max())
            x = table[part, :length] + model.positional_embedding[:length]
            x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
            made.append(x[torch.arange(len(part)), tokens[part].argmax(1)] @ model.text_projection)
    return F.normalize(torch.cat(made)[order.argsort()], dim=-1)


@torch.no_grad()
def embedded(model: Any, tokenizer: Any, texts: Sequence[str], batch: int = 256) -> Tensor:
    """Unit vectors [n, E] of texts in their order; those of like length go together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = torch.empty(len(texts), model.text_projection.shape[1])
    for start in range(0, len(texts), batch):
        some = order[start : start + batch]
        found[some] = encode(model, tokenizer([texts[i] for i in some]))
    return found


def distil(
    model: Any,
    tokenizer: Any,
    examples: TrainingTexts,
    plan: Words,
    *,
    seed: int,
    kept: Path,
    deadline: float,
    wrap: Callable[[range], Iterable[int]],
) -> bool:
    """Trains the text tower in place: 1 - cosine, and a cross entropy that tells the texts of a batch apart.

    Both are seen in relation to the vectors' spread, 1 - |mean|^2: in a classifier's space all vectors have much in common.

    True when all steps are done, False when `deadline` (time.monotonic) came first; saved in both cases.
    """
    named = [(name, p) for name, p in model.named_parameters() if not name.startswith("visual.") and name != "logit_scale"]
    table, matrices = model.token_embedding.weight, [p for _, p in named if p.ndim > 1 and p is not model.token_embedding.weight]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": 0.01, "times": 1.0},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0, "times": 1.0},
        {"params": [table], "weight_decay": 0.01, "times": plan.tokens},
    ]
    spread = 1 - float(examples.vectors.mean(0).square().sum())
    optimizer, steps = torch.optim.AdamW(groups, betas=(0.9, 0.98)), plan.samples // plan.batch
    step, saved = _load(kept, model, optimizer), time.monotonic()
    for number in wrap(range(step, steps)):
        source = Generator().manual_seed(seed * 1_000_003 + number)
        course = min(1, (number + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * number / steps)))
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * group["times"] * course
        chosen = _chosen(examples, plan, source)
        templates = torch.randint(len(TEMPLATES), (plan.batch,), generator=source).tolist()
        texts = [TEMPLATES[t].format(examples.texts[i]) for t, i in zip(templates, chosen.tolist(), strict=True)]
        made, wanted = encode(model, tokenizer(texts)), examples.vectors[chosen]
        twice = (chosen[:, None] == chosen).triu(1)  # a text that comes up again is not to be told from itself
        logits = (20 / spread * made @ wanted.T).masked_fill(twice | twice.T, -math.inf)
        apart = F.cross_entropy(logits, torch.arange(plan.batch))
        loss = (1 - (made * wanted).sum(1).mean()) / spread + 0.1 * apart
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        now = time.monotonic()
        if now - saved > SAVED_EVERY or now > deadline:
            _save(kept, model, optimizer, number + 1)
            saved = now
        if now > deadline:
            return number + 1 == steps
    _save(kept, model, optimizer, steps)
    return True


@dataclass(frozen=True, slots=True)
class Agreement:
    """On words never trained on: the mean cosine with the encoder's vectors, and the share whose nearest one is the right one."""

    cosine: float
    nearest: float
    words: int

    def line(self) -> str:
        """For a log."""
        return f"cosine {self.cosine:.4f} with the encoder, nearest of {self.words} unseen words right {100 * self.nearest:.1f} %"


def agreement(model: Any, tokenizer: Any, words: Sequence[str], vectors: Tensor) -> Agreement:
    """How far the text tower follows the encoder: `vectors` [n, E] are what it should say of the words."""
    made = embedded(model, tokenizer, [f"a photo of a {word}." for word in words])
    nearest = (made @ vectors.T).argmax(1) == torch.arange(len(words))
    return Agreement(float((made * vectors).sum(1).mean()), float(nearest.float().mean()), len(words))


def _chosen(examples: TrainingTexts, plan: Words, source: Generator) -> Tensor:
    """A batch of places: the share of those that must not be missed, the rest from all others."""
    some = round(plan.batch * plan.share) if examples.often else 0
    often = torch.randint(max(examples.often, 1), (some,), generator=source)
    others = torch.randint(examples.often, len(examples.texts), (plan.batch - some,), generator=source)
    return torch.cat([often, others])


def _save(path: Path, model: Any, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("visual.")}
    checkpoint(path, {"text": state, "optimizer": optimizer.state_dict(), "step": step})


def _load(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> int:
    """The step to go on with, its state loaded; 0 where nothing was kept."""
    if not path.is_file():
        return 0
    state = restored(path)
    model.load_state_dict(state["text"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
