"""The recipe of the embedded models, on a tower that trains in seconds: what it learns from, how it goes on, what it leaves."""

import dataclasses
import io
import itertools
import json
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from convert.torchvision_ops import open_clip
from models.recipe import __main__ as program
from models.recipe import augment, losses, names, pack, pictures, plan, score, start, tower, train

RECIPE = """
name = "small"
start = "nowhere"
embed_dim = 16
quick_gelu = true
[vision]
image_size = 16
layers = 3
width = 24
head_width = 12
patch_size = 8
ls_init_value = 0.1
no_ln_pre = true
[text]
context_length = 8
vocab_size = 49408
width = 8
heads = 1
layers = 1
[[phase]]
name = "first"
image_size = 16
samples = 96
batch = 8
rate = 2e-3
warm_up = 2
exits = { 1 = 0.2, 2 = 0.5 }
noise = 0.02
outliers = 0.02
drop = 0.25
mix = 0.5
"""
CLASSES = "n01\tred thing, scarlet thing\nn02\tblue thing\nn03\tgreen thing, verdant thing\n"
COLOURS = ((200, 40, 40), (40, 40, 200), (40, 200, 40))


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return plan.read(path)


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.tsv"
    path.write_text(CLASSES)
    return names.read(path)


def coloured(number, side=64, seed=0):
    noise = np.random.default_rng(seed).normal(0, 30, (side, side, 3))
    return np.clip(np.asarray(COLOURS[number]) + noise, 0, 255).astype(np.uint8)


def sheets(folder, count=40):
    """A folder of sheets of 64 x 64 tiles, one a class, whose names are n01 .. n03."""
    folder.mkdir()
    for number in range(3):
        tiles = [coloured(number, seed=k) for k in range(count)]
        rows = [np.concatenate(tiles[r : r + 20], 1) for r in range(0, count, 20)]
        Image.fromarray(np.concatenate(rows)).save(folder / f"n0{number + 1}.png")
    return folder


def tar(path, count=10):
    with tarfile.open(path, "w") as file:
        for k, number in itertools.product(range(count), range(3)):
            content = io.BytesIO()
            Image.fromarray(coloured(number, 40, 1000 + k)).save(content, "PNG")
            entry = tarfile.TarInfo(f"n0{number + 1}/{k}.png")
            entry.size = content.tell()
            content.seek(0)
            file.addfile(entry, content)
    return path


def model_of(recipe, seed=0):
    torch.manual_seed(seed)
    model = open_clip.model.CLIP(**recipe.configuration())
    torch.nn.init.normal_(model.visual.proj, std=0.2)
    return model


def setting_of(recipe, phase=None, count=24):
    random = np.random.default_rng(0)
    shown = pictures.Pictures(random.integers(0, 256, (count, 16, 16, 3), np.uint8), np.arange(count) % 3)
    vectors = torch.nn.functional.normalize(torch.from_numpy(random.normal(size=(5, 16))).float(), dim=1)
    bank = names.Bank(vectors, torch.tensor([0, 2, 3, 5]))
    ours = phase or recipe.phases[0]
    return train.Setting(
        ours, 0, 7, 16, torch.tensor(pack.MEAN), torch.tensor(pack.DEVIATION), bank, None, shown, torch.device("cpu")
    )


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
    passes = [torch.cat([train._batch(setting, 3 * p + k) for k in range(3)]) for p in range(2)]
    assert all(sorted(order.tolist()) == list(range(24)) for order in passes)
    assert passes[0].tolist() != passes[1].tolist()


def test_crops_are_the_same_for_the_same_seed_and_others_for_another():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8))
    one, same, other = (
        augment.views(
            pixels, 32, torch.tensor(pack.MEAN), torch.tensor(pack.DEVIATION), 0.35, torch.Generator().manual_seed(seed)
        )
        for seed in (1, 1, 2)
    )
    assert one.shape == (6, 3, 32, 32)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_mixed_pictures_have_mixed_targets_that_still_sum_to_one():
    x, targets = torch.randn(8, 3, 16, 16), losses.right_names(torch.arange(8) % 3, 3)
    for seed in range(6):
        mixed, shares = augment.mixed(x, targets, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(shares.sum(1), torch.ones(8))
        assert not torch.equal(mixed, x)


def test_the_teachers_answer_pulls_the_tower_towards_it(recipe):
    phase = dataclasses.replace(recipe.phases[0], names=0.0, exits={}, outliers=0.0, embedding=1.0, tokens=1.0)
    e, tokens = torch.randn(4, 16), torch.randn(4, 4, 24)
    bank = setting_of(recipe).bank.first()
    bridge = torch.nn.Linear(24, 24).requires_grad_(False)
    torch.nn.init.eye_(bridge.weight)
    torch.nn.init.zeros_(bridge.bias)
    seen = tower.Seen(e, {}, tokens, torch.tensor(0.0))
    targets, scale = losses.right_names(torch.arange(4) % 3, 3), torch.tensor(5.0)
    same = losses.loss(phase, seen, targets, bank, None, scale, losses.Taught(3 * e, 2 * tokens), bridge)
    apart = losses.loss(phase, seen, targets, bank, None, scale, losses.Taught(-e, -tokens), bridge)
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
        return float(losses.loss(phase, seen, targets, kinds.vectors, kinds, scale, None, None))

    right, wrong = kinds.shares @ kinds.vectors, kinds.shares.flip(0) @ kinds.vectors
    assert loss(right) < loss(wrong)
    with pytest.raises(plan.RecipeError, match="no kind is known of n01"):
        names.kinds_of(model_of(recipe), tokenizer, classes, names.Classes((), ()), ["{}"])


def test_sheets_tars_and_folders_give_the_same_pictures(tmp_path):
    folder = sheets(tmp_path / "sheets", 20)
    packed, loose = tmp_path / "train.tar", tmp_path / "loose"
    with tarfile.open(packed, "w") as file:
        for wnid, picture in pictures.each(folder):
            (loose / wnid).mkdir(parents=True, exist_ok=True)
            path = loose / wnid / f"{len(list((loose / wnid).iterdir())):03d}.png"
            picture.save(path)
            file.add(path, f"{wnid}/{path.name}")
    ids = ("n01", "n02", "n03")
    found = [pictures.read([source], ids, 64, tmp_path / "cache") for source in (folder, packed, loose)]
    for one in found:
        assert np.array_equal(one.pixels, found[0].pixels)
        assert one.classes.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    again = pictures.read([folder], ids, 64, tmp_path / "cache")
    assert isinstance(again.pixels, np.memmap)


def test_a_source_without_pictures_of_the_classes_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(plan.RecipeError, match="holds no picture"):
        pictures.read([tmp_path / "empty"], ("n01",), 64, tmp_path / "cache")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("noise = 0.02", "nois = 0.02", "unknown key nois"),
        ("embed_dim = 16", "", "lacks the key embed_dim"),
        ("[[phase]]", "[phase]", r"names no \[\[phase\]\]"),
    ],
)
def test_a_recipe_with_a_wrong_key_is_refused_in_a_line(tmp_path, before, after, told):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(before, after))
    with pytest.raises(plan.RecipeError, match=told) as caught:
        plan.read(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)


def test_a_position_table_stretched_and_back_keeps_the_class_token_and_smooth_grids():
    grid = torch.linspace(0, 1, 5)[:, None] + torch.linspace(0, 2, 5)[None]
    table = torch.cat([torch.tensor([[7.0]]), grid.reshape(-1, 1)])
    assert start.stretched(table, 26) is table
    wide = start.stretched(table, 1 + 49)
    assert wide[0].item() == 7
    middle = wide[1:].reshape(7, 7)[1:-1, 1:-1]
    assert (middle.diff(dim=0) > 0).all()
    assert (middle.diff(dim=1) > 0).all()


@pytest.mark.parametrize(("right", "of"), [(0, 10), (7, 10), (1500, 2020)])
def test_intervals_are_wilsons(right, of):
    wanted = binomtest(right, of).proportion_ci(0.95, "wilson")
    assert score.Share(right, of).interval() == pytest.approx((wanted.low, wanted.high))


def test_one_command_trains_packs_and_scores_and_goes_on_where_it_stopped(tmp_path, recipe, monkeypatch, capsys):
    (tmp_path / "classes.tsv").write_text(CLASSES)
    begun = tmp_path / "begun"
    pack.write(begun, recipe, model_of(recipe).state_dict())
    (begun / "templates.txt").write_text("a photo of a {}.\n")
    longer = RECIPE.replace("samples = 96", "samples = 1600").replace("drop = 0.25", "drop = 0.0")
    (tmp_path / "recipe.toml").write_text(longer)
    words = ["recipe", str(tmp_path / "recipe.toml"), "--train", str(sheets(tmp_path / "sheets"))]
    words += ["--validation", str(tar(tmp_path / "val.tar")), "--classes", str(tmp_path / "classes.tsv"), "--start", str(begun)]
    words += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "made"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", [*words, "--minutes", "0"])
    assert program.main() == 1, "time ran out"
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr("sys.argv", words)
    assert program.main() == 0
    told = [json.loads(line) for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    last = [row["score"] for row in told if "score" in row][-1]
    assert last["top1"]["right"] >= 24, "30 pictures of three colours"
    assert last["exits"]["2"]["right"] >= 20
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'made'}")
    assert prepare(Image.new("RGB", (40, 30))).shape == (3, 16, 16)
    assert sum(p.numel() for p in model.visual.parameters()) > 0
    assert "top-1" in capsys.readouterr().err


def test_an_unusable_start_is_told_in_a_line(tmp_path, recipe, monkeypatch, capsys):
    (tmp_path / "classes.tsv").write_text(CLASSES)
    words = ["recipe", str(tmp_path / "recipe.toml"), "--train", str(tmp_path), "--validation", str(tmp_path)]
    words += ["--start", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*words, "--classes", str(tmp_path / "classes.tsv"), "--work", str(tmp_path / "work")])
    assert program.main() == 2
    assert "expected an open_clip model folder" in capsys.readouterr().err
