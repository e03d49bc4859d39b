"""An open_clip model folder: configuration and float16 weights, as `local-dir:` loads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from convert.model.create import CONFIG
from convert.support.files import write_atomically
from models.recipe.plan import Recipe
from models.recipe.start import WEIGHTS

MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI CLIP's, which open_clip's models share
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def write(folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
    """The recipe's folder with these weights."""
    write_folder(folder, recipe.configuration(), state)


def write_folder(folder: Path, model: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """A folder of this model_cfg and these weights; files are replaced whole."""
    from safetensors.torch import save

    preprocess: dict[str, Any] = {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "shortest"}
    configuration = {"model_cfg": model, "preprocess_cfg": preprocess}
    write_atomically(folder / CONFIG, (json.dumps(configuration, indent=2) + "\n").encode())
    write_atomically(folder / WEIGHTS, bytes(save({name: value.half().contiguous() for name, value in state.items()})))
