"""A family of CLIP models with random weights, as model folders: small ones that between them have every feature, and the usual shapes.

Two of the stream's channels carry a large constant, as those of trained towers do (`stress.py`), so that naive quantization hurts; and
closeness is judged with what all images have in common taken out, of which random weights make most of an embedding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from convert.model.torchvision_ops import open_clip
from tests.convert.model_folder import LABELS, TEMPLATES, TEXT
from tests.convert.small import DEVIATION, MEAN, perturb

EMBEDDING = 24
LOUD = {3: 1.0, 17: -1.0}  # channel -> sign of its constant

# Feature -> in which of the five models behind the plain one it is. Any two differ and share one, and the plain one has neither: so every
# two features meet in all four ways (Kleitman and Spencer 1973: six rows are the least for more than four columns).
FEATURES: dict[str, str] = {
    "quick GELU": "123",
    "average": "124",
    "norm after pooling": "125",
    "no ln_pre": "134",
    "LayerScale": "135",
    "narrow": "145",
    "large": "234",
    "not square": "235",
    "patch does not divide": "245",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "average": {"pool_type": "avg"},
    "norm after pooling": {"final_ln_after_pool": True},
    "no ln_pre": {"no_ln_pre": True},
    "LayerScale": {"ls_init_value": 0.1},
    "narrow": {"width": 48, "head_width": 8, "mlp_ratio": 2.5},
}
PLAIN: dict[str, Any] = {"width": 64, "head_width": 16, "layers": 2}


@dataclass(frozen=True)
class Member:
    """The features that are switched on; the others are open_clip's defaults."""

    features: frozenset[str]

    def __str__(self) -> str:
        return ", ".join(name for name in FEATURES if name in self.features) or "plain"

    @property
    def quick(self) -> bool:
        """Whether open_clip's configuration asks for quick GELU, beside vision_cfg."""
        return "quick GELU" in self.features

    @property
    def vision(self) -> dict[str, Any]:
        """open_clip's vision_cfg."""
        chosen = {key: value for name in SETTINGS if name in self.features for key, value in SETTINGS[name].items()}
        side, patch, odd = (224, 32, (36, 30)) if "large" in self.features else (64, 16, (20, 12))
        return {
            **PLAIN,
            **chosen,
            "image_size": [side, side * 5 // 4] if "not square" in self.features else side,
            "patch_size": list(odd) if "patch does not divide" in self.features else patch,
        }


MEMBERS = tuple(Member(frozenset(name for name, rows in FEATURES.items() if row in rows)) for row in "012345")


def write(folder: Path, vision: dict[str, Any], quick: bool, loudness: float, embedding: int = EMBEDDING, seed: int = 0) -> Path:
    """`folder` is a model folder: configuration, random weights with loud channels, labels and templates."""
    folder.mkdir(parents=True)
    settings = {"embed_dim": embedding, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": quick}
    preprocessing = {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "shortest"}
    torch.manual_seed(seed)
    module = open_clip.model.CLIP(**settings)
    louder(perturb(module.visual, seed), loudness)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings, "preprocess_cfg": preprocessing}))
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (folder / "templates.txt").write_text("\n".join(TEMPLATES) + "\n")
    return folder


def louder(visual: Any, loudness: float) -> None:
    """Some channels of the stream get a constant, where it first comes from: ln_pre, or the table of positions."""
    first = visual.positional_embedding if isinstance(visual.ln_pre, nn.Identity) else visual.ln_pre.bias
    for channel, sign in LOUD.items():
        first.data[..., channel] += sign * loudness


def write_pictures(folder: Path, count: int, size: tuple[int, int], seed: int) -> Path:
    """`folder` holds PNGs of that height and width, with structure of several sizes and a colour of their own."""
    folder.mkdir(parents=True)
    random, (height, width) = np.random.default_rng(seed), size
    for number in range(count):
        values = np.full((height, width, 3), 128.0)
        for cells, strength in ((1, 30), (2, 50), (4, 40), (16, 25)):
            coarse = random.normal(0, strength, (cells, cells, 3))
            values += coarse[np.arange(height) * cells // height][:, np.arange(width) * cells // width]
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def closeness(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Mean cosine between embeddings [n, E], both less the mean of `wanted` over the images."""
    a, b = found - wanted.mean(0), wanted - wanted.mean(0)
    return float(((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).mean())


def cosine(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Mean cosine between embeddings [n, E] as they are."""
    return float(((found * wanted).sum(1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1))).mean())
