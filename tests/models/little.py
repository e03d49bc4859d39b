"""A recipe that trains in seconds, and images of three colours to train it on."""

import io
import itertools
import tarfile

import numpy as np
import torch
from PIL import Image

from convert.model.torchvision_ops import open_clip
from models.recipe import images, names, plan, train

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
    shown = images.TrainingImages(random.integers(0, 256, (count, 16, 16, 3), np.uint8), np.arange(count) % 3)
    vectors = torch.nn.functional.normalize(torch.from_numpy(random.normal(size=(5, 16))).float(), dim=1)
    bank = names.Bank(vectors, torch.tensor([0, 2, 3, 5]))
    ours = phase or recipe.phases[0]
    return train.Setting(
        ours,
        0,
        7,
        16,
        torch.tensor(plan.CLIP_MEAN),
        torch.tensor(plan.CLIP_DEVIATION),
        bank,
        None,
        images.Sets(shown),
        torch.device("cpu"),
    )
