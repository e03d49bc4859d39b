"""What a text tower is taught and judged by: the words of a list but those kept to judge it; the classes' names, which stay put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.recipe import text, words
from models.recipe.text import Agreement, TrainingTexts


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The examples, and words never taught with the unit vectors [n, E] that the encoder gives them in the model's space."""

    examples: TrainingTexts
    unseen: Sequence[str]
    vectors: Tensor

    def agreement(self, model: Any, tokenizer: Any) -> Agreement:
        """How far a text tower follows the encoder on the words never taught."""
        return text.agreement(model, tokenizer, self.unseen, self.vectors)


def vocabulary(model: Any, tokenizer: Any, names: Sequence[str], vectors: Tensor, listed: Path, cache: Path) -> Vocabulary:
    """From a list of words; `names` with `vectors` [n, E] are those whose direction the image tower was trained towards.

    The encoder's vectors are turned into the space of `model`'s text tower, by the words that are taught.
    """
    nouns = words.read_words(listed)
    encoded, held = words.encoded(nouns, cache), text.held_out(len(nouns))
    taught = [noun for noun, out in zip(nouns, held.tolist(), strict=True) if not out]
    unseen = [noun for noun, out in zip(nouns, held.tolist(), strict=True) if out]
    space = words.space(encoded[~held], text.embedded(model, tokenizer, taught))
    examples = TrainingTexts([*names, *taught], torch.cat([vectors, space.of(encoded[~held])]), often=len(names))
    return Vocabulary(examples, unseen, space.of(encoded[held]))
