"""Weights that are no numbers are refused when they are loaded, by the tensor's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from convert.cli import main
from convert.model import head_files
from convert.model.create import create
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from convert.support.errors import ModelError
from tests.convert import model_folder
from tests.convert.conversion import random_head

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder.write(tmp_path / "small")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name",
    [
        "visual.transformer.resblocks.1.mlp.c_fc.weight",
        "transformer.resblocks.0.ln_1.bias",
        "token_embedding.weight",
        "logit_scale",
    ],
)
def test_a_weight_that_is_no_number_is_refused_by_its_name(folder, name, wrong):
    """In the image tower and in the text tower, in a model folder and from a file."""
    state = dict(load_file(folder / WEIGHTS))
    state[name].view(-1)[0] = wrong
    save_file(state, folder.parent / "w.safetensors")
    shutil.copytree(folder, folder.parent / "own")
    save_file(state, folder.parent / "own" / WEIGHTS)
    for model, weights in ((folder, str(folder.parent / "w.safetensors")), (folder.parent / "own", None)):
        with pytest.raises(ModelError, match=f"expected finite weights, found 1 of .* in {name} NaN or infinite"):
            load_model(str(model), weights, None)


def test_a_number_too_large_for_float32_is_infinite(folder):
    state = {name: value.double() for name, value in load_file(folder / WEIGHTS).items()}
    state["visual.proj"][0, 0] = 1e300
    save_file(state, folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"1 of 1536 in visual\.proj"):
        load_model(str(folder), None, None)


def test_weights_of_a_tag_are_looked_at_too(monkeypatch):
    """open_clip loads these itself."""

    def broken(name: str, **_: object) -> torch.nn.Module:
        module = torch.nn.Module()
        module.register_buffer("visual", torch.tensor([1.0, float("nan")]))
        return module

    monkeypatch.setattr(open_clip, "create_model", broken)
    with pytest.raises(ModelError, match="found 1 of 2 in visual NaN or infinite"):
        create("ViT-B-32", "openai")


def test_heads_that_are_no_numbers_are_refused_by_their_name(folder):
    model = load_model(str(folder), None, None)
    content = head_files.to_bytes({2: random_head(model.tower(), 40)})
    (folder / head_files.FILE).write_bytes(content)
    assert set(load_model(str(folder), None, None).heads) == {2}
    arrays = dict(load_file(folder / head_files.FILE))
    arrays["02.fc_1.bias"][3] = float("nan")
    save_file(arrays, folder / head_files.FILE)
    with pytest.raises(ModelError, match=r"heads\.safetensors: expected finite weights, found 1 of 40 in 02\.fc_1\.bias"):
        load_model(str(folder), None, None)


def test_the_command_ends_with_exit_code_3_and_one_line(folder, capsys):
    state = dict(load_file(folder / WEIGHTS))
    state["visual.proj"][0, 0] = float("nan")
    save_file(state, folder / WEIGHTS)
    images = model_folder.write_pictures(folder.parent / "images", 1)
    assert main(["build", "--model", str(folder), "--images", str(images), "--out", str(folder.parent / "x.tflite")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "visual.proj" in line
    assert not (folder.parent / "x.tflite").exists()
