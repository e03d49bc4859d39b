"""What one step of the training does, what it learns from, and how it goes on."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch

from convert.model.torchvision_ops import open_clip
from convert.support import precision
from models.recipe import losses, names, plan, tower, train
from tests.models.little import model_of, setting_of


def test_a_pass_is_open_clips_and_its_exits_are_the_shared_heads(recipe):
    model = model_of(recipe).eval()
    x = torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        seen = tower.run(model.visual, x, (2, 3), torch.Generator())
        torch.testing.assert_close(seen.embedding, model.encode_image(x))
        caught = []
        for block in model.visual.transformer.resblocks:
            block.register_forward_hook(lambda *_, caught=caught: caught.append(_[2]))
        model.encode_image(x)
    for done in (2, 3):
        h = caught[done - 1][:, 1:].double().numpy().mean(1)
        norm = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + model.visual.ln_post.eps)
        wanted = norm @ model.visual.proj.detach().double().numpy()  # a fresh norm's affine is the identity
        np.testing.assert_allclose(seen.exits[done].numpy(), wanted, atol=1e-5)


def test_noise_has_the_size_asked_for_and_dropped_branches_keep_the_mean(recipe):
    visual = model_of(recipe).visual.eval()
    x = torch.randn(1, 3, 16, 16).expand(4000, -1, -1, -1)
    with torch.no_grad():
        exact = tower.run(visual, x[:1], (), torch.Generator())
        some = tower.run(visual, x, (), torch.Generator().manual_seed(0), drop=0.25)
        noisy = tower.run(visual, x, (), torch.Generator().manual_seed(0), noise=0.05)
    assert (some.tokens.mean(0) - exact.tokens[0]).abs().max() < 0.05
    spread = noisy.tokens.std(0).pow(2).mean().sqrt()
    assert float(spread) == pytest.approx(0.05 * 3**0.5, rel=0.1)  # behind a norm, three blocks of it


def test_outliers_are_nought_for_channels_alike_and_grow_with_the_strongest(recipe):
    visual = model_of(recipe).visual.eval()
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        before = tower.run(visual, x, (), torch.Generator()).outliers
        visual.positional_embedding[:, 5] += 50
        after = tower.run(visual, x, (), torch.Generator()).outliers
    assert 0 < before < after
    assert float(after) == pytest.approx(np.log(24), rel=0.05)


def test_fast_arithmetic_is_float32_without_units_and_close_to_it_with_them(recipe, monkeypatch):
    visual, x = model_of(recipe).visual.eval(), torch.randn(8, 3, 16, 16)

    def seen():
        with torch.no_grad(), precision.fast(torch.device("cpu")):
            return tower.run(visual, x, (2,), torch.Generator()).float()

    with torch.no_grad():
        exact = tower.run(visual, x, (2,), torch.Generator())
    for units in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, units, lambda: False)
    assert torch.equal(seen().embedding, exact.embedding)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)  # without units the same, only slow
    fast = seen()
    assert fast.embedding.dtype == fast.exits[2].dtype == torch.float32
    assert not torch.equal(fast.embedding, exact.embedding)
    for one, other in ((fast.embedding, exact.embedding), (fast.exits[2], exact.exits[2])):
        assert torch.cosine_similarity(one, other).min() > 0.9995


def test_relative_rates_are_smaller_for_what_starts_small_and_never_larger(recipe):
    visual = model_of(recipe).visual
    with torch.no_grad():
        visual.transformer.resblocks[0].mlp.c_proj.weight.normal_(std=0.005)
        visual.proj.fill_(3.0)
    plain, relative = (
        train.prepare(setting_of(recipe, dataclasses.replace(recipe.phases[0], relative=on)), visual, 2.0, None)
        for on in (False, True)
    )
    names_ = [name for name, _ in visual.named_parameters()]
    share = {
        name: b["peak"] / a["peak"]
        for name, a, b in zip(names_, plain.optimizer.param_groups, relative.optimizer.param_groups, strict=False)
    }
    assert share["transformer.resblocks.0.mlp.c_proj.weight"] == pytest.approx(0.1, rel=0.2)
    assert share["proj"] == 1
    assert max(share.values()) == 1


def test_a_step_can_be_broken_off_and_gone_on_with_to_the_bit(recipe, tmp_path):
    def run(stops):
        state = train.prepare(setting_of(recipe), model_of(recipe).visual, 2.0, None)
        for stop in stops:
            while state.step < stop:
                train.step(setting_of(recipe), state)
            train.save(state, tmp_path / "state.pt")
            state = train.prepare(setting_of(recipe), model_of(recipe, seed=9).visual, 1.0, None)
            train.load(state, tmp_path / "state.pt")
        return state

    whole, pieces = run([7]), run([2, 3, 7])
    for name, value in whole.visual.state_dict().items():
        assert torch.equal(value, pieces.visual.state_dict()[name]), name
        assert torch.equal(whole.average[name], pieces.average[name]), name
    assert torch.equal(whole.scale, pieces.scale)


def test_training_ends_at_the_deadline_and_is_saved(recipe, tmp_path):
    state = train.prepare(setting_of(recipe), model_of(recipe).visual, 2.0, None)
    done = train.train(setting_of(recipe), state, tmp_path / "s.pt", tmp_path / "log", time.monotonic() - 1, lambda steps: steps)
    assert (done, state.step) == (False, 1)
    assert torch.load(tmp_path / "s.pt")["step"] == 1
    assert train.train(setting_of(recipe), state, tmp_path / "s.pt", tmp_path / "log", float("inf"), lambda steps: steps)
    assert torch.load(tmp_path / "s.pt")["step"] == 12
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 10]


def test_every_pass_shows_every_picture_once_in_an_order_of_its_own(recipe):
    setting = setting_of(recipe)
    passes = [torch.cat([train._batch(setting, setting.images.photographs, 3 * p + k) for k in range(3)]) for p in range(2)]
    assert all(sorted(order.tolist()) == list(range(24)) for order in passes)
    assert passes[0].tolist() != passes[1].tolist()


def test_the_teachers_answer_pulls_the_tower_towards_it(recipe):
    phase = dataclasses.replace(recipe.phases[0], names=0.0, exits={}, outliers=0.0, embedding=1.0, tokens=1.0)
    e, tokens = torch.randn(4, 16), torch.randn(4, 4, 24)
    bank = setting_of(recipe).bank.first()
    bridge = torch.nn.Linear(24, 24).requires_grad_(False)
    torch.nn.init.eye_(bridge.weight)
    torch.nn.init.zeros_(bridge.bias)
    seen = tower.Seen(e, {}, tokens, torch.tensor(0.0))
    targets, scale = losses.right_names(torch.arange(4) % 3, 3), torch.tensor(5.0)
    same = losses.loss(
        phase, seen, targets, bank, kinds=None, scale=scale, taught=losses.Taught(3 * e, 2 * tokens), bridge=bridge
    )
    apart = losses.loss(phase, seen, targets, bank, kinds=None, scale=scale, taught=losses.Taught(-e, -tokens), bridge=bridge)
    assert float(same) == pytest.approx(0, abs=1e-5)
    assert float(apart) == pytest.approx(4, abs=1e-4)


def test_kinds_pull_an_embedding_towards_all_that_its_class_is(recipe, classes, tmp_path):
    (tmp_path / "kinds.tsv").write_text("n01\twarm colour, colour\nn02\tcold colour, colour\nn03\tcolour\n")
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=8)
    kinds = names.kinds_of(model_of(recipe), tokenizer, classes, names.read(tmp_path / "kinds.tsv"), ["{}"])
    assert kinds.shares.tolist() == [[0, 0.5, 0.5], [0.5, 0.5, 0], [0, 1, 0]]  # cold colour, colour, warm colour
    phase = dataclasses.replace(recipe.phases[0], names=0.0, exits={}, outliers=0.0, kinds=1.0)
    scale, targets = torch.tensor(20.0), torch.eye(3)

    def loss(embedding):
        seen = tower.Seen(embedding, {}, torch.zeros(3, 4, 24), torch.tensor(0.0))
        return float(losses.loss(phase, seen, targets, kinds.vectors, kinds=kinds, scale=scale, taught=None, bridge=None))

    right, wrong = kinds.shares @ kinds.vectors, kinds.shares.flip(0) @ kinds.vectors
    assert loss(right) < loss(wrong)
    with pytest.raises(plan.RecipeError, match="no kind is known of n01"):
        names.kinds_of(model_of(recipe), tokenizer, classes, names.Classes((), ()), ["{}"])
