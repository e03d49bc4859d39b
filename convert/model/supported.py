"""Which image towers can be converted; what cannot is refused by name, from the configuration alone where that tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from convert.support.errors import ModelError, UnsupportedTower
from tflite_runtime_app.errors import in_one_line

Activation = Literal["gelu", "quick_gelu"]

SUPPORTED = (
    "open_clip's VisionTransformer with the default block, exact or quick GELU, with or without ln_pre and LayerScale, "
    "pooled by class token or average, any patch size and any image that holds a patch, "
    "its patches, with or without the class token, not as many as its channels"
)


def refuse_configuration(settings: Mapping[str, Any]) -> None:
    """Raise UnsupportedTower where open_clip's configuration of a model tells that its image tower cannot be converted.

    Costs neither weights nor memory: the tower is built of shapes alone. Raises ModelError for a vision_cfg that open_clip cannot build.
    """
    from convert.model.torchvision_ops import open_clip

    vision = settings["vision_cfg"]
    if vision.get("timm_model_name"):
        pool = f", pooled by {vision['timm_pool']}" if vision.get("timm_pool") else ""
        raise _unsupported(f"a timm tower (TimmModel: {vision['timm_model_name']}{pool})")
    try:
        with torch.device("meta"):
            visual = open_clip.model._build_vision_tower(settings["embed_dim"], vision, bool(settings.get("quick_gelu")))
    except Exception as error:  # open_clip asserts, divides, and takes keywords of a dataclass: many kinds
        raise ModelError(
            f"open_clip cannot build the image tower that vision_cfg describes: {in_one_line(error)}; mend the configuration"
        ) from error
    refuse(visual)


def refuse(visual: nn.Module) -> None:
    """Raise UnsupportedTower, naming what was found and what is supported, unless `visual` is a tower that `Tower` can hold."""
    from convert.model.torchvision_ops import open_clip

    transformer = open_clip.transformer
    kind = type(visual).__name__
    if not isinstance(visual, transformer.VisionTransformer):
        names = {"ModifiedResNet": "a ResNet tower (ModifiedResNet)", "TimmModel": "a timm tower (TimmModel)"}
        raise _unsupported(names.get(kind, f"a tower of type {kind}"))
    v: Any = visual
    if v.attn_pool is not None:
        raise _unsupported("a tower with attentional pooling (AttentionalPooler)")
    if v.pool_type not in ("tok", "avg"):
        raise _unsupported(f"a tower with pool_type {v.pool_type!r}")
    if v.proj is None:
        raise _unsupported("a tower without an output projection")
    if v.output_tokens:
        raise _unsupported("a tower that puts out its tokens beside the embedding (output_tokens)")
    if v.positional_embedding.shape[0] < 2:
        (height, width), (down, across) = v.image_size, v.patch_size
        raise _unsupported(f"a tower for images of {height} x {width}, which hold no patch of {down} x {across}")
    tokens, width = v.positional_embedding.shape
    if width in (tokens - 1, tokens):  # onnx2tf takes one axis of a square [rows, channels] for the other
        raise _unsupported(f"a tower of {tokens - 1} patches and a class token on {width} channels, which the converter mixes up")
    blocks = v.transformer.resblocks
    for block in blocks:
        if type(block) is not transformer.ResidualAttentionBlock:
            raise _unsupported(f"a tower with blocks of type {type(block).__name__} (qk_norm, scaled cosine or scaled attention)")
    before = () if isinstance(v.ln_pre, nn.Identity) else (v.ln_pre,)
    for norm in (*before, *(norm for block in blocks for norm in (block.ln_1, block.ln_2)), v.ln_post):
        if not isinstance(norm, nn.LayerNorm):
            raise _unsupported(f"a tower with a norm of type {type(norm).__name__}, LayerNorm is expected throughout")
    activations = {activation_of(block.mlp.gelu) for block in blocks}
    if len(activations) > 1:
        raise _unsupported(f"a tower that mixes activations ({', '.join(sorted(activations))}), one GELU is expected throughout")


def activation_of(module: nn.Module) -> Activation:
    """Which GELU a block uses. Raises UnsupportedTower for anything else."""
    found = gelu_of(module)
    if found is None:
        raise _unsupported(f"a tower with the activation {module}")
    return found


def gelu_of(module: nn.Module) -> Activation | None:
    """Which GELU a module is, None for anything else."""
    from convert.model.torchvision_ops import open_clip

    if isinstance(module, open_clip.transformer.QuickGELU):
        return "quick_gelu"
    return "gelu" if isinstance(module, nn.GELU) and module.approximate == "none" else None


def _unsupported(what: str) -> UnsupportedTower:
    return UnsupportedTower(f"cannot convert {what}; what can be converted: {SUPPORTED}")
