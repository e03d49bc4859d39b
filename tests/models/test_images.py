"""Training images: where they come from and what they go through."""

import tarfile
import zipfile

import numpy as np
import pytest
import torch

from convert.heads import augment
from models.recipe import images, losses, plan
from tests.models.little import sheets


def test_crops_are_the_same_for_the_same_seed_and_others_for_another():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8))
    one, same, other = (
        augment.views(
            pixels,
            (32, 32),
            torch.tensor(plan.CLIP_MEAN),
            torch.tensor(plan.CLIP_DEVIATION),
            0.35,
            torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert one.shape == (6, 3, 32, 32)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_images_need_not_be_square():
    pixels = torch.full((64, 20, 30, 3), 255, dtype=torch.uint8)
    source = torch.Generator().manual_seed(0)
    x = augment.views(pixels, (24, 40), torch.zeros(3), torch.ones(3), 0.35, source)
    assert x.shape == (64, 3, 24, 40)
    gone = (x == 0).all(1)
    assert gone.any() and not gone.flatten(1).all(1).any(), "a grey rectangle, never the whole image"
    for seed in range(6):  # every image a colour of its own: pasted areas can be counted
        plain = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 24, 40)
        mixed, shares = augment.mixed(plain, torch.eye(8), torch.Generator().manual_seed(seed))
        means = torch.arange(8.0) @ shares.T
        torch.testing.assert_close(mixed.mean((1, 2, 3)), means, msg="the shares are those of the area, or of the blend")


def test_mixed_pictures_have_mixed_targets_that_still_sum_to_one():
    x, targets = torch.randn(8, 3, 16, 16), losses.right_names(torch.arange(8) % 3, 3)
    for seed in range(6):
        mixed, shares = augment.mixed(x, targets, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(shares.sum(1), torch.ones(8))
        assert not torch.equal(mixed, x)


def test_a_training_image_that_cannot_be_read_is_named_and_a_zip_is_read(tmp_path):
    folder = sheets(tmp_path / "sheets", 20)
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as file:
        for number, (wnid, image) in enumerate(images.each(folder)):
            with file.open(f"{wnid}/{number}.png", "w") as entry:
                image.save(entry, "PNG")
    assert [wnid for wnid, _ in images.each(tmp_path / "train.zip")] == [wnid for wnid, _ in images.each(folder)]
    (folder / "n02.jpg").write_bytes(b"broken")
    with pytest.raises(plan.RecipeError, match=r"n02\.jpg: expected an image .*; take it out of the training images"):
        list(images.each(folder))


def test_sheets_tars_and_folders_give_the_same_pictures(tmp_path):
    folder = sheets(tmp_path / "sheets", 20)
    packed, loose = tmp_path / "train.tar", tmp_path / "loose"
    with tarfile.open(packed, "w") as file:
        for wnid, image in images.each(folder):
            (loose / wnid).mkdir(parents=True, exist_ok=True)
            path = loose / wnid / f"{len(list((loose / wnid).iterdir())):03d}.png"
            image.save(path)
            file.add(path, f"{wnid}/{path.name}")
    ids = ("n01", "n02", "n03")
    found = [images.read([source], ids, 64, tmp_path / "cache") for source in (folder, packed, loose)]
    for one in found:
        assert np.array_equal(one.pixels, found[0].pixels)
        assert one.classes.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    again = images.read([folder], ids, 64, tmp_path / "cache")
    assert isinstance(again.pixels, np.memmap)


def test_a_source_without_pictures_of_the_classes_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(plan.RecipeError, match="holds no image"):
        images.read([tmp_path / "empty"], ("n01",), 64, tmp_path / "cache")
