"""The weights of transformers' CLIPModel under open_clip's names: the same numbers, their matrices joined or transposed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

ANCHOR = "vision_model.embeddings.patch_embedding.weight"

# Names outside the blocks; a star says that the matrix is transposed.
OUTER = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",  # transformers' own spelling
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "*visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "*text_projection",
    "logit_scale": "logit_scale",
}
TOWERS = {"vision_model": "visual.transformer", "text_model": "transformer"}
INNER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
BLOCK = re.compile(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def to_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights by open_clip's names; those that open_clip has none for are left out. Raises ValueError for a block in parts."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        block = BLOCK.fullmatch(name)
        outer = OUTER.get(name) or OUTER.get(name.rpartition(".")[0])
        if block is not None:
            tower, number, layer, part = block.groups()
            stem = f"{TOWERS[tower]}.resblocks.{number}"
            if layer == "self_attn.q_proj":
                found[f"{stem}.attn.in_proj_{part}"] = _joined(weights, name)
            elif layer in INNER:
                found[f"{stem}.{INNER[layer]}.{part}"] = value
        elif outer is not None and outer.startswith("*"):
            found[outer[1:]] = value.t()
        elif outer is not None:
            found[outer if name in OUTER else f"{outer}.{name.rpartition('.')[2]}"] = value
    return found


def _joined(weights: Mapping[str, Tensor], query: str) -> Tensor:
    """Queries, keys and values as the one matrix, or bias, that torch's attention has."""
    names = [query.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
    lacking = [name for name in names if name not in weights]
    if lacking:
        raise ValueError(f"it lacks {lacking[0]}; download or copy it again")
    return torch.cat([weights[name] for name in names])
