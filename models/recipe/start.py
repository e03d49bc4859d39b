"""Where a tower starts: another open_clip folder's weights, its position table stretched to the images' new size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convert.model.create import CONFIG
from models.recipe.plan import RecipeError

WEIGHTS = "open_clip_model.safetensors"
POSITIONS = "visual.positional_embedding"
TEXT = "text_projection"


def configuration(folder: Path, side: int = 0) -> dict[str, Any]:
    """A model folder's model_cfg, for images of another side where one is given. Raises RecipeError where there is none."""
    path = folder / CONFIG
    if not path.is_file():
        raise RecipeError(f"{path} does not exist; expected an open_clip model folder, as models/pocket is one")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))["model_cfg"]
    if side:
        found["vision_cfg"]["image_size"] = side
    return found


def weights(folder: Path) -> dict[str, Tensor]:
    """An open_clip folder's weights in float32. Raises RecipeError where there are none."""
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        raise RecipeError(f"{path} does not exist; expected an open_clip model folder, as models/pocket is one")
    return {name: value.float() for name, value in load_file(path).items()}


def build(configuration: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """An open_clip CLIP of that configuration with these weights, the position table stretched where its size differs.

    Weights without a text tower get one as open_clip makes it, always the same.

    Raises RecipeError naming the first weight whose shape does not fit.
    """
    from convert.model.torchvision_ops import open_clip

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = open_clip.model.CLIP(**configuration)
    own = model.state_dict()
    text = {} if TEXT in state else {name: value for name, value in own.items() if not name.startswith("visual.")}
    fitted = {**text, **state, POSITIONS: stretched(state[POSITIONS], len(own[POSITIONS]))}
    for name, value in own.items():
        if name not in fitted or fitted[name].shape != value.shape:
            found = tuple(fitted[name].shape) if name in fitted else "none"
            raise RecipeError(f"the weights to start from have {name} {found}, expected {tuple(value.shape)}")
    model.load_state_dict({name: fitted[name] for name in own})
    return model


def stretched(table: Tensor, tokens: int) -> Tensor:
    """A position table [1 + n, D] as [tokens, D]: the class token's row as it is, the grid of the others by bicubic interpolation."""
    if len(table) == tokens:
        return table
    old, new = math.isqrt(len(table) - 1), math.isqrt(tokens - 1)
    grid = table[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([table[:1], grid.permute(0, 2, 3, 1).reshape(new * new, -1)])
