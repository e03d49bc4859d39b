"""An open_clip model folder: configuration and float16 weights, as `local-dir:` loads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from convert.model.create import CONFIG
from convert.support.files import write_atomically
from models.recipe.plan import CLIP_DEVIATION, CLIP_MEAN, Recipe
from models.recipe.start import WEIGHTS


def write(folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
    """The recipe's folder with these weights."""
    write_folder(folder, recipe.configuration(), state, recipe.mean, recipe.deviation)


def write_folder(
    folder: Path,
    model: Mapping[str, Any],
    state: Mapping[str, Tensor],
    mean: Sequence[float] = CLIP_MEAN,
    deviation: Sequence[float] = CLIP_DEVIATION,
) -> None:
    """A folder of this model_cfg and these weights; files are replaced whole."""
    from safetensors.torch import save

    preprocess: dict[str, Any] = {
        "mean": list(mean),
        "std": list(deviation),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    configuration = {"model_cfg": model, "preprocess_cfg": preprocess}
    write_atomically(folder / CONFIG, (json.dumps(configuration, indent=2) + "\n").encode())
    write_atomically(folder / WEIGHTS, bytes(save({name: value.half().contiguous() for name, value in state.items()})))
