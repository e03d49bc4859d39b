"""When a rewrite must not fire, and what each leaves behind; that the embedding stays is shown in test_stages.py for every step."""

import dataclasses

import pytest
import torch

from calibration.phases import RewriteInputs
from convert.model.tower import Tower
from convert.rewrites import LADDER, Entry, Rewrite, rewrite
from convert.rewrites.key_value_centring import mean_roles
from convert.stages.stage import build_stages
from tests.convert.small import pictures, random_inputs, run_stages, tower_of, vit

STEPS = {step.name: step for step in LADDER}
NAMES = tuple(STEPS)
TWICE = ("key-value-centring", "rotation", "migration", "head-rotation")


def after(tower: Tower, *names: str, seed: int = 0) -> Tower:
    return rewrite(tower, random_inputs(tower, seed), tuple(STEPS[name] for name in names))[0]


def refusal(tower: Tower, name: str, inputs: RewriteInputs | None = None) -> str | None:
    (entry,) = rewrite(tower, random_inputs(tower) if inputs is None else inputs, (STEPS[name],))[1]
    assert entry.name == name
    return entry.refusal


def test_the_log_tells_what_fired_and_why_not():
    tower = tower_of(vit())  # has no LayerScale
    log = rewrite(tower, random_inputs(tower))[1]
    assert [entry.name for entry in log] == list(NAMES)
    assert [entry.name for entry in log if entry.refusal is not None] == ["layer-scale"]
    assert "LayerScale" in log[NAMES.index("layer-scale")].refusal


def test_a_refused_step_leaves_the_tower_as_it_is():
    tower = tower_of(vit())
    never = Rewrite("never", lambda tower, means: "no reason")
    found, log = rewrite(tower, RewriteInputs(), (never,))
    assert found is tower
    assert log == (Entry("never", "no reason"),)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TWICE])
def test_no_step_fires_twice(name):
    """Those in TWICE may: a second centring takes out other means, a second rotation turns on, a second migration goes further."""
    tower = after(tower_of(vit(ls_init_value=0.5)), *NAMES[: NAMES.index(name) + 1])
    assert refusal(tower, name)


def test_input_normalisation_must_not_fire_on_raw_pixels():
    tower = dataclasses.replace(tower_of(vit()), pixel_mean=None, pixel_deviation=None)
    assert "raw pixels" in refusal(tower, "input-normalisation")


def test_attention_scale_must_not_fire_without_a_scale():
    assert "not scaled" in refusal(dataclasses.replace(tower_of(vit()), attention_scale=1.0), "attention-scale")


def test_attention_scale_once_only():
    tower = tower_of(vit())
    once, twice = after(tower, "attention-scale"), after(tower, "attention-scale", "attention-scale")
    torch.testing.assert_close(once.blocks[0].query.weight, tower.blocks[0].query.weight / 4)  # 4 heads of 16
    assert once.attention_scale == 1.0
    torch.testing.assert_close(twice.blocks[0].query.weight, once.blocks[0].query.weight, rtol=0, atol=0)


def test_key_value_centring_must_not_fire_without_every_mean():
    tower = tower_of(vit())
    assert "block_01/key" in refusal(tower, "key-value-centring", RewriteInputs())
    known = random_inputs(tower)
    means = {role: mean for role, mean in known.channel_means.items() if role != "block_02/value"}
    lacking = dataclasses.replace(known, channel_means=means)
    assert "block_02/value" in refusal(tower, "key-value-centring", lacking)
    assert rewrite(tower, lacking, (STEPS["key-value-centring"],))[0] is tower


def test_the_roles_whose_means_are_needed():
    assert mean_roles(2) == ("block_01/key", "block_01/value", "block_02/key", "block_02/value")


def test_keys_and_values_have_zero_mean_under_their_own_means():
    visual = vit()
    tower, pixels = after(tower_of(visual), "input-normalisation"), pictures(visual, 4)
    sums: dict[str, torch.Tensor] = {}

    def means_of(tower: Tower) -> dict[str, torch.Tensor]:
        sums.clear()

        def listen(role, x):
            if role in mean_roles(3):
                sums[role] = x.reshape(-1, x.shape[-1]).mean(0)

        stages = build_stages(tower, (1,))
        for stage in stages:
            stage.tap = listen
        run_stages(stages, pixels)
        return dict(sums)

    means = means_of(tower)
    assert min(float(mean.abs().max()) for mean in means.values()) > 0.05
    inputs = RewriteInputs({role: mean.numpy() for role, mean in means.items()})
    centred = means_of(rewrite(tower, inputs, (STEPS["key-value-centring"],))[0])
    assert max(float(mean.abs().max()) for mean in centred.values()) < 1e-4


def test_norms_are_plain_after_norm_affine():
    tower = after(tower_of(vit()), "norm-affine")
    norms = [norm for block in tower.blocks for norm in (block.norm_1, block.norm_2)] + [tower.norm_post]
    assert all(norm.weight is None and norm.bias is None for norm in norms)


def test_layer_scale_is_gone_after_its_step():
    tower = after(tower_of(vit(ls_init_value=0.5)), "layer-scale")
    assert all(block.scale_1 is None and block.scale_2 is None for block in tower.blocks)


def test_centring_must_not_fire_while_layer_scale_stands():
    """It stands behind the writer, and would put a mean back."""
    tower = tower_of(vit(ls_init_value=0.5))
    assert "LayerScale" in refusal(tower, "centring")
    assert refusal(after(tower, "layer-scale"), "centring") is None


def test_rotation_must_not_fire_on_a_stream_with_a_mean_or_norms_with_weights():
    tower = tower_of(vit())
    assert "centred" in refusal(tower, "rotation")
    assert "weight" in refusal(after(tower, "centring"), "rotation")
    assert refusal(after(tower, "norm-affine", "centring"), "rotation") is None


@pytest.mark.parametrize("options", [{}, {"no_ln_pre": True}, {"ls_init_value": 0.5}])
def test_the_stream_is_centred_then_rotated(options):
    """After centring every token has zero mean; after rotation the stream is the same up to an orthogonal map, and truly another."""
    visual = vit(**options)
    pixels, plain = pictures(visual, 2), tower_of(visual)

    def hidden(*names: str) -> torch.Tensor:
        return run_stages(build_stages(after(plain, *names), (2,)), pixels)[0]["hidden"].double()

    before = hidden("input-normalisation", "norm-affine", "layer-scale")
    centred = hidden("input-normalisation", "norm-affine", "layer-scale", "centring")
    rotated = hidden("input-normalisation", "norm-affine", "layer-scale", "centring", "rotation")
    size = before.norm(dim=-1).mean()
    assert float(before.mean(-1).abs().max()) > 1e-2
    torch.testing.assert_close(centred, before - before.mean(-1, keepdim=True), rtol=0, atol=1e-5 * float(size))
    rows, turned = (x.reshape(-1, x.shape[-1]) for x in (centred, rotated))
    torch.testing.assert_close(turned @ turned.T, rows @ rows.T, rtol=0, atol=1e-4 * float(size) ** 2)
    assert float((turned - rows).norm(dim=-1).min()) > 0.5 * float(rows.norm(dim=-1).min())


@pytest.mark.parametrize("width", [1, 2, 12, 48, 64, 80, 384, 768])
def test_the_rotation_is_orthogonal_and_spreads_every_channel(width):
    from convert.rewrites.rotation import orthogonal

    matrix = orthogonal(width, 0)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(width, dtype=torch.float64))
    if width >= 48:
        assert float(matrix.abs().max()) < 6 / width**0.5, "a channel that stands out would still stand out"
    assert width < 3 or not torch.equal(matrix, orthogonal(width, 1))
    assert torch.equal(matrix, orthogonal(width, 0))


@pytest.mark.parametrize("name", NAMES)
def test_a_rewrite_does_not_touch_its_input(name):
    tower, untouched = tower_of(vit(ls_init_value=0.5)), tower_of(vit(ls_init_value=0.5))
    start = after(tower, *NAMES[: NAMES.index(name)])
    reference = after(untouched, *NAMES[: NAMES.index(name)])
    after(start, name)
    for mine, theirs in zip(tensors(start), tensors(reference), strict=True):
        assert torch.equal(mine, theirs)


def tensors(value) -> list[torch.Tensor]:
    """All tensors anywhere in a dataclass."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in tensors(item)]
    if dataclasses.is_dataclass(value):
        return [tensor for field in dataclasses.fields(value) for tensor in tensors(getattr(value, field.name))]
    return []
