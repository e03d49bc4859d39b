"""Narrow towers: the same tower where nothing is cut, close to it where little is, and open_clip's own weights in the end."""

import pytest
import torch
import torch.nn.functional as F

from convert.model.torchvision_ops import open_clip
from models.recipe import narrow
from tests.convert.small import tower_of, vit

OPTIONS = {"width": 48, "heads": 6, "no_ln_pre": True, "ls_init_value": 0.3}


def pictures(count=96):
    """Smooth at two sizes, so that the tower's streams have few directions that matter."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    return F.interpolate(coarse, size=(32, 32), mode="bilinear") + 0.2 * torch.randn(count, 3, 32, 32, generator=generator)


def loaded(state, **changed):
    """open_clip's tower with these weights."""
    settings = {"image_size": 32, "patch_size": 8, "layers": 3, "mlp_ratio": 4.0, "output_dim": 24, "no_ln_pre": True, **changed}
    visual = open_clip.transformer.VisionTransformer(act_layer=torch.nn.GELU, **settings)
    visual.load_state_dict({name.removeprefix("visual."): value for name, value in state.items()})
    return visual.eval()


def closeness(found, wanted):
    """Mean cosine, what all images have in common taken out."""
    return F.cosine_similarity(found - found.mean(0), wanted - wanted.mean(0), dim=-1).mean().item()


@torch.no_grad()
def test_a_tower_from_which_nothing_is_cut_is_the_same_tower():
    visual, x = vit(**OPTIONS), pictures(400)
    made = loaded(narrow.state_of(narrow.narrowed(tower_of(visual), x, 48, 6, 192)), width=48, heads=6)
    other = pictures(8) * 0.9
    torch.testing.assert_close(made(other), visual(other), atol=0.02, rtol=0.02)


@torch.no_grad()
@pytest.mark.parametrize(("width", "heads", "hidden", "least"), [(40, 5, 160, 0.85), (24, 3, 96, 0.6)])
def test_what_is_left_stays_close_and_far_closer_than_a_fresh_tower(width, heads, hidden, least):
    visual, x = vit(**OPTIONS), pictures(400)
    seen, held = x[:350], x[350:]
    small = narrow.narrowed(tower_of(visual), seen, width, heads, hidden)
    made = loaded(narrow.state_of(small), width=width, heads=heads)
    assert small.blocks[0].fc_1.weight.shape == (hidden, width)
    wanted = visual(held)
    assert closeness(made(held), wanted) > least
    other = vit(5, width=width, heads=heads, no_ln_pre=True)
    assert closeness(other(held), wanted) < 0.3
