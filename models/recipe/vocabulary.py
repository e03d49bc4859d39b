"""What a text tower is taught and judged by: the words of a list but those kept to judge it; the classes' names, which stay put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.recipe import text, words
from models.recipe.lexicon import Known, lexicon
from models.recipe.text import Agreement, TrainingTexts


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The examples, words never taught with the unit vectors [n, E] that they should have, and by how much the logits' scale grows.

    The vectors of the first `exact` texts are worth keeping as they are: no text tower gives them better.
    """

    examples: TrainingTexts
    unseen: Sequence[str]
    vectors: Tensor
    longer: float = 1.0
    exact: int = 0

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


def of_classifier(known: Known, listed: Path, cache: Path) -> Vocabulary:
    """From a list of words in a classifier's space; those that name none of its classes and no everyday thing may be kept to judge by."""
    nouns = words.read_words(listed)
    encoded, names = words.encoded(nouns, cache), words.encoded(known.classes.first, cache)
    made = lexicon(known, nouns, encoded, names)
    held = {noun for noun, out in zip(nouns, text.held_out(len(nouns)).tolist(), strict=True) if out} - set(
        made.texts[: made.sure]
    )
    taught = [k for k, word in enumerate(made.texts) if word not in held]
    unseen = [k for k, word in enumerate(made.texts) if word in held]
    examples = TrainingTexts([made.texts[k] for k in taught], made.vectors[taught], often=made.sure)
    return Vocabulary(examples, [made.texts[k] for k in unseen], made.vectors[unseen], made.longer, made.sure)
