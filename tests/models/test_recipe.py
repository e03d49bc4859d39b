"""The recipe as a whole: what is read, where it starts, and what one command leaves."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from models.recipe import __main__ as program
from models.recipe import images, pack, plan, soup, start, wordnet, words
from models.recipe.wordnet import WordNet
from tests.models.little import CLASSES, RECIPE, model_of, sheets, tar
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes, read_labels, unit


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("noise = 0.02", "nois = 0.02", "unknown key nois"),
        ("embed_dim = 16", "", "lacks the key embed_dim"),
        ("[[phase]]", "[phase]", r"names no \[\[phase\]\]"),
        ("quick_gelu = true", "quick_gelu = true\nend = { last = 1 }", "end names last, expected of start, first"),
        ("quick_gelu = true", "quick_gelu = true\nend = { start = 0.5, first = 0.4 }", "end sum to 0.9, expected 1"),
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


def test_a_soup_is_the_mean_of_weights_whose_position_tables_have_the_same_grid():
    known = {"start": {"w": torch.tensor([1.0, 3.0]), start.POSITIONS: torch.ones(1 + 4, 2)}}
    known["late"] = {"w": torch.tensor([5.0, 7.0]), start.POSITIONS: torch.full((1 + 9, 2), 2.0)}
    mixed = soup.soup({"start": 0.25, "late": 0.75}, known, 3)
    assert torch.equal(mixed["w"], torch.tensor([4.0, 6.0]))
    assert mixed[start.POSITIONS].shape == (10, 2)
    torch.testing.assert_close(mixed[start.POSITIONS], torch.full((10, 2), 1.75))


def test_one_command_trains_packs_and_scores_and_goes_on_where_it_stopped(tmp_path, recipe, monkeypatch, capsys):
    (tmp_path / "classes.tsv").write_text(CLASSES)
    begun = tmp_path / "begun"
    pack.write(begun, recipe, model_of(recipe).state_dict())
    (begun / "templates.txt").write_text("a photo of a {}.\n")
    longer = RECIPE.replace("samples = 96", "samples = 1600").replace("drop = 0.25", "drop = 0.0")
    longer = longer.replace("quick_gelu", "end = { first = 0.5, again = 0.5 }\nquick_gelu")
    again = "[[phase]]\nname = 'again'\nsamples = 64\nbatch = 8\nrate = 1e-3\n"
    (tmp_path / "recipe.toml").write_text(longer + again + "[words]\nsamples = 64\nbatch = 16\n")
    (tmp_path / "nouns.txt").write_text("\n".join(f"thing_{k}" for k in range(40)))
    monkeypatch.setattr(words, "_encode", lambda listed: np.random.default_rng(0).normal(size=(len(listed), 24)).astype("f4"))
    asked = ["recipe", str(tmp_path / "recipe.toml"), "--train", str(sheets(tmp_path / "sheets"))]
    asked += ["--validation", str(tar(tmp_path / "val.tar")), "--classes", str(tmp_path / "classes.tsv"), "--start", str(begun)]
    asked += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "made"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", asked)
    assert program.main() == 2
    assert "give --nouns FILE" in capsys.readouterr().err
    asked += ["--nouns", str(tmp_path / "nouns.txt")]
    monkeypatch.setattr("sys.argv", [*asked, "--minutes", "0"])
    assert program.main() == 1, "time ran out"
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr("sys.argv", asked)
    assert program.main() == 0
    told = [json.loads(line) for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    last = [row["score"] for row in told if "score" in row and "top1" in row["score"]][-1]
    assert last["top1"]["right"] >= 24, "30 images of three colours"
    assert last["exits"]["2"]["right"] >= 20
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'made'}")
    assert prepare(Image.new("RGB", (40, 30))).shape == (3, 16, 16)
    assert sum(p.numel() for p in model.visual.parameters()) > 0
    told = capsys.readouterr().err
    assert "top-1" in told
    assert "nearest of 10 unseen words right" in told


def test_an_unusable_start_is_told_in_a_line(tmp_path, recipe, monkeypatch, capsys):
    (tmp_path / "classes.tsv").write_text(CLASSES)
    words = ["recipe", str(tmp_path / "recipe.toml"), "--train", str(tmp_path), "--validation", str(tmp_path)]
    words += ["--start", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*words, "--classes", str(tmp_path / "classes.tsv"), "--work", str(tmp_path / "work")])
    assert program.main() == 2
    assert "expected an open_clip model folder" in capsys.readouterr().err


def test_photographs_without_names_teach_a_tower_from_a_classifier_what_its_teacher_answers(
    tmp_path, recipe, monkeypatch, capsys
):
    """A start without a text tower, whose label vectors lie ready; the head stays, exits have readers of their own."""
    begun, classes = tmp_path / "begun", [line.partition(",")[0] for line in CLASSES.splitlines()]
    known = {name: value for name, value in model_of(recipe).state_dict().items() if name.startswith("visual.")}
    pack.write_folder(begun, recipe.configuration(), {**known, "logit_scale": torch.tensor(2.0)})
    (begun / "labels.txt").write_text("\n".join(classes) + "\n")
    vectors = unit(np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32))
    (begun / "labels.npz").write_bytes(labels_to_bytes(LabelBank(vectors, ("a", "b", "c"), (), "space")))
    asked = 'names = 0.0\nanswers = 1.0\nembedding = 1.0\nreaders = true\nfixed = ["ln_post", "proj", "logit_scale"]\nmix'
    text = RECIPE.replace("mix", asked).replace("drop = 0.25", "drop = 0.0").replace("samples = 96", "samples = 400")
    text = text.replace("quick_gelu", "stored = 32\nheld = 5\nmean = [0.5, 0.4, 0.3]\ndeviation = [0.2, 0.3, 0.4]\nquick_gelu")
    (tmp_path / "everyday.tsv").write_text("n01\tred\nn02,n03\tcold colour\n")
    (tmp_path / "nouns.txt").write_text("\n".join(f"thing_{k}" for k in range(40)))
    words_asked = f'\n[words]\nsamples = 64\nbatch = 16\nnames = "{tmp_path / "everyday.tsv"}"\n'
    text = text.replace("[text]", f'[teacher]\nfolder = "{begun}"\nimage_size = 24\n[text]') + words_asked
    (tmp_path / "recipe.toml").write_text(text)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "templates.txt").write_text("a photo of a {}.\n{}\n")
    tree = WordNet({wnid: (f"colour {wnid}",) for wnid in ("n01", "n02", "n03")}, dict.fromkeys(("n01", "n02", "n03"), ()))
    monkeypatch.setattr(wordnet, "read", lambda _: tree)
    monkeypatch.setattr(words, "_encode", lambda listed: np.random.default_rng(0).normal(size=(len(listed), 24)).astype("f4"))
    said = ["recipe", str(tmp_path / "recipe.toml"), "--train", str(sheets(tmp_path / "sheets"))]
    said += ["--train", str(tar(tmp_path / "others.tar", 30)), "--validation", str(tar(tmp_path / "val.tar")), "--device", "cpu"]
    said += ["--start", str(begun), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "made")]
    said += ["--nouns", str(tmp_path / "nouns.txt")]
    monkeypatch.setattr("sys.argv", said)
    assert program.main() == 2
    assert "give --wordnet FOLDER" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*said, "--wordnet", str(tmp_path)])
    assert program.main() == 0
    rows = [json.loads(line) for line in (tmp_path / "w" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0]
    made, configuration = start.weights(tmp_path / "made"), json.loads((tmp_path / "made" / pack.CONFIG).read_text())
    for name, value in known.items():
        still = name.startswith(("visual.ln_post", "visual.proj"))
        assert torch.equal(made[name], value.half().float()) is still or name.endswith("class_embedding"), name
    assert configuration["preprocess_cfg"]["mean"] == [0.5, 0.4, 0.3]
    assert start.TEXT in made
    kept = read_labels(tmp_path / "made" / "labels.npz")
    assert {"red", "cold colour", "colour n02"} <= set(kept.names) and "thing 3" not in kept.names
    assert (
        kept.templates == ("a photo of a {}.", "{}") and kept.space_id == load_model(str(tmp_path / "made"), None, None).space_id
    )
    longer = made["logit_scale"].exp().item() / np.exp(2.0)
    assert longer > 0.9
    of = [kept.names.index(name) for name in ("colour n01", "colour n02", "colour n03")]
    np.testing.assert_allclose(longer * kept.vectors[of, :-1], vectors[:, :-1], atol=2e-3)


def test_photographs_and_tiles_lie_apart_and_each_fifth_photograph_is_kept(tmp_path):
    sources = (sheets(tmp_path / "sheets", count=20), tar(tmp_path / "others.tar", 10))
    seen = images.read_sets(sources, ("n01",), 32, tmp_path, others=True, held=5)
    assert seen.photographs.pixels.shape == (24, 32, 32, 3) and seen.tiles.pixels.shape == (60, 64, 64, 3)
    assert set(seen.photographs.classes) == {0, -1}
    assert len(seen.drawn(True)) == 60 and len(seen.drawn(False)) == 24
    together = images.read_sets(sources, ("n01",), 64, tmp_path, others=False)
    assert together.tiles is None and len(together.photographs) == 20 + 10


def test_a_phase_without_names_needs_a_teacher(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE + "names = 0.0\n")
    with pytest.raises(plan.RecipeError, match=r"first asks for no names, so it needs a \[teacher\]"):
        plan.read(tmp_path / "recipe.toml")
