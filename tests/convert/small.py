"""Small image towers with random weights in which nothing is trivially 0 or 1, made of open_clip's own classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calibration.phases import RewriteInputs
from convert.model.torchvision_ops import open_clip
from convert.model.tower import Tower, tower_from_open_clip
from convert.rewrites.key_value_centring import mean_roles
from convert.rewrites.migration import value_role

MEAN, DEVIATION = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)

# Every kind of tower that can be converted: name -> arguments of VisionTransformer (`quick` picks the activation).
VARIANTS = {
    "exact GELU, ln_pre, class token": {},
    "quick GELU": {"quick": True},
    "no ln_pre": {"no_ln_pre": True},
    "LayerScale": {"ls_init_value": 0.1},
    "LayerScale, no ln_pre, quick GELU": {"ls_init_value": 1.0, "no_ln_pre": True, "quick": True},
    "average, norm before": {"pool_type": "avg"},
    "average, norm after": {"pool_type": "avg", "final_ln_after_pool": True},
    "class token, norm after": {"final_ln_after_pool": True},
    "image not square": {"image_size": (24, 40)},
    "patch does not divide the image": {"image_size": (30, 45), "patch_size": 7},
    "patch not square": {"image_size": 24, "patch_size": (6, 8)},
    "one head": {"heads": 1},
    "six heads, width 48, narrow MLP": {"heads": 6, "width": 48, "mlp_ratio": 2.5},
    "sine positions": {"pos_embed_type": "sin_cos_2d"},
}


def vit(seed: int = 0, quick: bool = False, **options) -> nn.Module:
    """An open_clip VisionTransformer in evaluation mode, every norm, bias and LayerScale drawn at random."""
    settings = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "heads": 4, "mlp_ratio": 4.0, "output_dim": 24}
    torch.manual_seed(seed)
    visual = open_clip.transformer.VisionTransformer(
        **{**settings, "act_layer": open_clip.transformer.QuickGELU if quick else nn.GELU, **options}
    )
    return perturb(visual, seed).eval()


def perturb(module: nn.Module, seed: int) -> nn.Module:
    """One-dimensional parameters get their own random values; matrices grow, so that attention is not uniform."""
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("gamma"):
                parameter.copy_(0.6 + 0.3 * noise)
            elif parameter.ndim == 1 and name.endswith("weight"):
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.2 * noise)
            elif name.endswith("in_proj_weight"):
                parameter.mul_(2.0)
            elif name.endswith("positional_embedding"):
                parameter.add_(0.5 * noise)
    return module


def pictures(visual: nn.Module, count: int, seed: int = 0) -> Tensor:
    """Random images [n, H, W, 3] in 0..1."""
    return torch.rand((count, *visual.image_size, 3), generator=torch.Generator().manual_seed(seed + 100))


def normalised(pixels: Tensor) -> Tensor:
    """What open_clip's tower takes: [n, 3, H, W], mean and deviation taken out."""
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return (pixels.permute(0, 3, 1, 2) - mean) / deviation


def tower_of(visual: nn.Module) -> Tower:
    """The tower as data."""
    return tower_from_open_clip(visual, MEAN, DEVIATION)


def random_inputs(tower: Tower, seed: int = 0) -> RewriteInputs:
    """Numbers per channel that belong to nothing, and a seed: the rewrites must be exact under any."""
    generator = torch.Generator().manual_seed(seed + 200)
    blocks = len(tower.blocks)
    means = {role: torch.randn(tower.width, generator=generator).numpy() for role in mean_roles(blocks)}
    maxima = {value_role(n): (torch.rand(tower.width, generator=generator) + 0.1).numpy() for n in range(1, blocks + 1)}
    return RewriteInputs(means, maxima, seed)


def run_stages(stages, pixels: Tensor) -> list[dict[str, Tensor]]:
    """Every stage's outputs by name."""
    value, found = pixels, []
    with torch.no_grad():
        for stage in stages:
            outputs = dict(zip(stage.output_names, stage(value), strict=True))
            found.append(outputs)
            value = outputs.get("hidden")
    return found


def hidden_states(visual: nn.Module, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
    """open_clip's own hidden state after each block [n, T, D], by hooks, and its embedding."""
    states: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _m, _i, output: states.append(output)) for block in visual.transformer.resblocks]
    try:
        with torch.no_grad():
            embedding = visual(normalised(pixels))
    finally:
        for hook in hooks:
            hook.remove()
    return states, embedding
