"""What can be converted is read off the modules themselves, and what cannot is refused by name."""

from functools import partial

import pytest
import torch
from torch import nn

from convert.model.torchvision_ops import open_clip
from convert.model.tower import tower_from_open_clip
from convert.support.errors import UnsupportedTower
from tests.convert.small import DEVIATION, MEAN, perturb, tower_of, vit

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 16}


def built(**vision) -> nn.Module:
    """The tower that open_clip itself builds of a configuration."""
    return open_clip.model._build_vision_tower(24, {**VISION, **vision}).eval()


class TimmModel(nn.Module):
    """Of the same name as open_clip's, which would need a timm network."""


REFUSED = {
    "ModifiedResNet": lambda: built(layers=[1, 1, 1, 1], width=16, head_width=32, image_size=64),
    "TimmModel": TimmModel,
    "AttentionalPooler": lambda: built(attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=4),
    "CustomResidualAttentionBlock": lambda: built(qk_norm=True),
    "scaled cosine": lambda: built(scaled_cosine_attn=True),
    "scaled attention": lambda: built(scale_attn=True),
    "approximate='tanh'": lambda: built(act_kwargs={"approximate": "tanh"}),
    "ReLU": lambda: vit(act_layer=nn.ReLU),
    "'none'": lambda: vit(pool_type="none"),
    "Linear": lambda: nn.Linear(2, 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    with pytest.raises(UnsupportedTower) as caught:
        tower_from_open_clip(REFUSED[name](), MEAN, DEVIATION)
    message = str(caught.value)
    assert name in message
    assert "what can be converted: open_clip's VisionTransformer" in message
    assert "\n" not in message
    assert caught.value.exit_code == 3


def test_a_real_timm_tower_is_refused():
    visual = open_clip.timm_model.TimmModel("resnet18", embed_dim=16, image_size=32, pool="avg", proj="linear")
    with pytest.raises(UnsupportedTower, match="timm"):
        tower_from_open_clip(visual, MEAN, DEVIATION)


def test_a_tower_without_projection_is_refused():
    visual = vit()
    visual.proj = None
    with pytest.raises(UnsupportedTower, match="projection"):
        tower_of(visual)


def test_a_foreign_block_anywhere_is_refused():
    visual = vit()
    visual.transformer.resblocks[2] = built(qk_norm=True).transformer.resblocks[0]
    with pytest.raises(UnsupportedTower, match="CustomResidualAttentionBlock"):
        tower_of(visual)


@pytest.mark.parametrize(
    ("activation", "found"),
    [(open_clip.transformer.QuickGELU, "quick_gelu"), (nn.GELU, "gelu"), (partial(nn.GELU, "none"), "gelu")],
)
def test_the_activation_is_told_by_the_module(activation, found):
    assert tower_of(vit(act_layer=activation)).activation == found


def test_another_activation_in_a_later_block_is_not_overlooked():
    visual = vit()
    visual.transformer.resblocks[2].mlp.gelu = open_clip.transformer.QuickGELU()
    with pytest.raises(UnsupportedTower, match="GELU"):
        tower_of(visual)


@pytest.mark.parametrize(
    ("options", "pooling"),
    [
        ({}, "class_token"),
        ({"pool_type": "avg"}, "average"),
        ({"pool_type": "avg", "final_ln_after_pool": True}, "average_then_norm"),
    ],
)
def test_pooling(options, pooling):
    assert tower_of(vit(**options)).pooling == pooling


def test_the_plain_facts():
    tower = tower_of(vit(image_size=(30, 45), patch_size=7, heads=2, no_ln_pre=True, ls_init_value=0.1))
    assert (tower.image_size, tower.patch_size, tower.grid, tower.tokens) == ((30, 45), (7, 7), (4, 6), 25)
    assert (tower.width, tower.heads, tower.embedding_size, len(tower.blocks)) == (64, 2, 24, 3)
    assert tower.norm_pre is None
    assert all(block.scale_1 is not None and block.scale_2 is not None for block in tower.blocks)
    assert tower.attention_scale == pytest.approx(32**-0.5)
    assert (tower.pixel_mean, tower.pixel_deviation) == (MEAN, DEVIATION)


def test_the_data_is_a_copy_in_float32():
    visual = vit().half()
    tower = tower_of(visual)
    before = tower.blocks[0].query.weight.clone(), tower.class_token.clone(), tower.projection.weight.clone()
    perturb(visual, 9)
    after = tower.blocks[0].query.weight, tower.class_token, tower.projection.weight
    for a, b in zip(before, after, strict=True):
        assert a.dtype == torch.float32
        assert not a.requires_grad
        torch.testing.assert_close(a, b, rtol=0, atol=0)
