"""The float stages give open_clip's embedding and exits as defined, for every kind of tower and every step of the ladder."""

import numpy as np
import pytest
import torch

from calibration.phases import RewriteInputs
from convert.model.torchvision_ops import open_clip
from convert.rewrites import LADDER, rewrite
from convert.stages.cut import StageSplit, default_exits, split
from convert.stages.stage import build_stages, stream_role
from tests.convert.small import (
    VARIANTS,
    hidden_states,
    normalised,
    perturb,
    pictures,
    random_inputs,
    run_stages,
    tower_of,
    vit,
)
from tests.reference import exits as reference

EXACT = 1e-4  # of the embedding's norm


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found - wanted).abs().amax(-1) / wanted.norm(dim=-1)).max())


def compare(visual, steps: int, exits: tuple[int, ...], seed: int) -> None:
    pixels = pictures(visual, 3, seed)
    tower = tower_of(visual)
    stages = build_stages(rewrite(tower, random_inputs(tower, seed), LADDER[:steps])[0], exits)
    outputs = run_stages(stages, pixels)
    states, embedding = hidden_states(visual, pixels)
    assert torch.isfinite(embedding).all()
    assert relative(outputs[-1]["embedding"], embedding) < EXACT
    ln_post = reference.parameters(visual)
    for blocks_done, found in zip(exits, outputs, strict=False):
        hidden = states[blocks_done - 1].numpy()
        wanted = torch.from_numpy(reference.exit_embedding(hidden, ln_post))
        assert relative(found["embedding"].double(), wanted) < EXACT
        variance, slack = reference.exit_variance(hidden, ln_post["eps"])
        assert variance.min() > 0.02, "a spread of nothing would prove nothing"
        assert (np.abs(found["variance"].numpy() - variance) <= slack + 1e-5).all()


@pytest.mark.parametrize("steps", range(1, len(LADDER) + 1), ids=lambda n: f"to {LADDER[n - 1].name}")
@pytest.mark.parametrize("variant", VARIANTS)
def test_embedding_and_exits_equal_open_clip(variant, steps):
    for seed in (0, 1):
        compare(vit(seed, **VARIANTS[variant]), steps, (1, 2), seed)


@pytest.mark.parametrize("skipped", range(1, len(LADDER)), ids=lambda n: f"without {LADDER[n].name}")
def test_any_step_may_be_left_out(skipped):
    """Then later steps do not fire or are as exact as ever."""
    visual = vit(3, ls_init_value=1.0)
    tower, pixels = tower_of(visual), pictures(visual, 2)
    ladder = LADDER[:skipped] + LADDER[skipped + 1 :]
    stages = build_stages(rewrite(tower, random_inputs(tower), ladder)[0], (2,))
    assert relative(run_stages(stages, pixels)[-1]["embedding"], hidden_states(visual, pixels)[1]) < EXACT


def test_the_towers_of_these_tests_are_not_trivial():
    """Attention is not uniform, every block matters, and the images differ from one another."""
    visual = vit()
    pixels = pictures(visual, 2)
    embedding = hidden_states(visual, pixels)[1]
    assert relative(embedding[:1], embedding[1:]) > 0.02
    for block in visual.transformer.resblocks:
        heard = []
        hook = block.ln_1.register_forward_hook(lambda _m, _i, output, into=heard: into.append(output))
        with torch.no_grad():
            visual(normalised(pixels))
            hook.remove()
            weights = block.attn(heard[0], heard[0], heard[0], need_weights=True)[1]
        assert float(weights.max()) > 3 / weights.shape[-1]


@pytest.mark.parametrize("config", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_a_whole_vit_b_32(config):
    settings = open_clip.get_model_config(config)
    visual = open_clip.model._build_vision_tower(settings["embed_dim"], settings["vision_cfg"], settings.get("quick_gelu", False))
    perturb(visual, 0).eval()
    tower = tower_of(visual)
    assert tower.activation == ("quick_gelu" if "quick" in config else "gelu")
    assert (tower.width, len(tower.blocks), tower.heads, tower.tokens, tower.embedding_size) == (768, 12, 12, 50, 512)
    pixels = pictures(visual, 1)
    stages = build_stages(rewrite(tower, random_inputs(tower))[0], (4, 6, 8))
    assert relative(run_stages(stages, pixels)[-1]["embedding"], hidden_states(visual, pixels)[1]) < EXACT
    whole = build_stages(stages[0].tower, (4, 6, 8), whole=True)
    assert sum(stage.macs() for stage in whole) == pytest.approx(4.4e9, rel=0.02)  # 8.8 GFLOP: open_clip's model profile


def test_macs_count_every_product_once():
    """Against torch's own count of the operations of open_clip's forward pass, which computes all rows of the last block."""
    from torch.utils.flop_counter import FlopCounterMode

    visual = vit(0)
    with (
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        visual.train()(normalised(pictures(visual, 1)))  # in training mode the fast path, which it cannot count, is off
    tower = rewrite(tower_of(visual), RewriteInputs(), LADDER[:1])[0]
    stages = build_stages(tower, (1,), whole=True)
    assert 2 * (sum(stage.macs() for stage in stages) + tower.head_macs(0)) == counter.get_total_flops()


@pytest.mark.parametrize(("exits", "variant"), [((1,), {}), ((1, 2), {}), ((1, 2), {"pool_type": "avg"})])
def test_the_last_block_computes_the_rows_that_are_read(exits, variant):
    """The class token's, where that is read: the same embedding of fewer products, which the stages count. Averages read all rows."""
    from torch.utils.flop_counter import FlopCounterMode

    visual = vit(0, **variant)
    tower, pixels = rewrite(tower_of(visual), RewriteInputs(), LADDER[:1])[0], pictures(visual, 3)
    stages, whole = build_stages(tower, exits), build_stages(tower, exits, whole=True)
    found = run_stages(stages, pixels)[-1]["embedding"]
    torch.testing.assert_close(found, run_stages(whole, pixels)[-1]["embedding"], rtol=1e-5, atol=1e-5)
    with FlopCounterMode(display=False) as counter:
        run_stages(stages, pixels[:1])
    counted = sum(stage.macs() + tower.head_macs(stage.part.blocks_done) for stage in stages)
    assert 2 * counted == counter.get_total_flops()
    assert (counted < sum(stage.macs() + tower.head_macs(0) for stage in whole)) == (not variant)


@pytest.mark.parametrize("exits", [(2, 1), (1, 1), (0, 2), (3,), (1, 4), (-1,)])
def test_impossible_exits(exits):
    with pytest.raises(ValueError, match=r"between 1 and 2") as caught:
        split(3, exits)
    assert str(list(exits)) in str(caught.value)


def test_splits_are_disjoint_and_cover_all_blocks():
    assert split(12, (4, 6, 8)) == (
        StageSplit(0, 0, 4, False),
        StageSplit(1, 4, 6, False),
        StageSplit(2, 6, 8, False),
        StageSplit(3, 8, 12, True),
    )
    assert split(5, ()) == (StageSplit(0, 0, 5, True),)


@pytest.mark.parametrize(
    ("blocks", "exits"), [(12, (4, 6, 8)), (24, (8, 12, 16)), (3, (1, 2)), (2, (1,)), (1, ()), (32, (11, 16, 21))]
)
def test_default_exits(blocks, exits):
    assert default_exits(blocks) == exits
    assert split(blocks, exits)[-1].blocks_done == blocks


def test_a_stage_takes_raw_pixels_only():
    with pytest.raises(ValueError, match="raw pixels"):
        build_stages(tower_of(vit()), (1,))


def test_what_a_stage_hands_over_is_the_next_ones_input():
    visual = vit()
    stages = build_stages(rewrite(tower_of(visual), RewriteInputs(), LADDER[:1])[0], (1, 2))
    outputs = run_stages(stages, pictures(visual, 2))
    states, _ = hidden_states(visual, pictures(visual, 2))
    for stage, found, state in zip(stages, outputs, states, strict=False):
        if not stage.part.last:
            assert stage.output_names == ("hidden", "embedding", "variance")
            assert tuple(found["hidden"].shape) == stages[stage.part.index + 1].input_shape(2)
            torch.testing.assert_close(found["hidden"], state, rtol=1e-4, atol=1e-4)
    assert [stage.input_name for stage in stages] == ["image", "hidden", "hidden"]
    assert stages[-1].output_names == ("embedding",)


def test_every_result_is_shown_to_a_listener_and_listening_changes_nothing():
    visual = vit(quick=True, ls_init_value=1.0)
    stages = build_stages(rewrite(tower_of(visual), RewriteInputs(), LADDER[:1])[0], (1,))
    pixels, heard = pictures(visual, 1), {}
    silent = run_stages(stages, pixels)[-1]["embedding"]

    def listen(role, x):
        heard.setdefault(role, x)

    for stage in stages:
        stage.tap = listen
    listened = run_stages(stages, pixels)[-1]["embedding"]
    torch.testing.assert_close(silent, listened, rtol=1e-5, atol=1e-6)
    expected = {"image", "embed/patch", "stage_0/exit/variance", "stage_1/final/embedding", stream_role(0), stream_role(3)}
    kinds = (
        "key",
        "value",
        "query",
        "scores",
        "scores_scaled",
        "softmax",
        "mixed",
        "attention",
        "middle",
        "gelu_gate",
        "gelu",
        "mlp",
    )
    assert expected | {f"block_03/{kind}" for kind in kinds} <= set(heard)
    torch.testing.assert_close(heard["block_02/softmax"].sum(-1), torch.ones(1, 4, 17))


def test_exits_do_not_depend_on_where_the_tower_is_cut():
    visual = vit(2)
    tower = rewrite(tower_of(visual), RewriteInputs(), LADDER[:1])[0]
    together, alone = (run_stages(build_stages(tower, exits), pictures(visual, 2)) for exits in ((1, 2), (2,)))
    torch.testing.assert_close(together[1]["embedding"], alone[0]["embedding"])
    torch.testing.assert_close(together[1]["variance"], alone[0]["variance"])
