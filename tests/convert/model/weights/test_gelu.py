"""Weights of one GELU in a model of the other: told, with the right model's name, wherever anything tells it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from convert.model import create as creating
from convert.model.create import create
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from convert.model.weights import gelu
from convert.model.weights.gelu import Known, beside, of_code, right_model
from convert.support.errors import ModelError, UsageError
from tests.convert import model_folder

CONFIG = "open_clip_config.json"


def test_the_code_of_an_archive_tells():
    assert of_code("class QuickGELU(Module):", False) == Known(True, "its TorchScript code", True)
    assert of_code("torch.mul(torch.sigmoid(torch.mul(x, 1.702)), x)", False).quick
    assert not of_code("_1 = torch.gelu(_0)", True).quick
    assert of_code("torch.relu(x)", True).quick, "OpenAI's archives are all of quick GELU"
    assert of_code("torch.relu(x)", False) is None


@pytest.mark.parametrize(
    ("name", "content", "quick"),
    [
        (CONFIG, {"model_cfg": {"embed_dim": 3, "quick_gelu": True}}, True),
        (CONFIG, {"model_cfg": {"embed_dim": 3}}, False),
        ("config.json", {"model_type": "clip"}, True),
        ("config.json", {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}, False),
        ("config.json", {"model_type": "clip", "vision_config": {"hidden_act": "quick_gelu"}}, True),
        ("config.json", {"model_type": "bert"}, None),
        ("config.json", ["no object"], None),
    ],
)
def test_a_configuration_beside_the_file_tells(name, content, quick, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    found = beside(tmp_path / "w.safetensors", CONFIG)
    assert (None if found is None else found.quick) == quick
    assert found is None or found.certain


@pytest.mark.parametrize(
    ("name", "quick"),
    [
        ("ViT-B-32.pt", True),
        ("ViT-L-14-336px.pt", True),
        ("vit_b_32-quickgelu-laion400m_e32-46683a32.pt", True),
        ("mine-quickgelu.safetensors", True),
        ("vit_b_32-laion2b_e16-af8dbd0c.pth", False),
        ("mine.pt", None),
    ],
)
def test_a_published_name_is_a_hint(name, quick, tmp_path):
    found = beside(tmp_path / name, CONFIG)
    assert (None if found is None else (found.quick, found.certain)) == (None if quick is None else (quick, False))


def test_the_right_model_is_one_that_there_is():
    assert right_model("ViT-B-32", True) == "give --model ViT-B-32-quickgelu"
    assert right_model("ViT-B-32-quickgelu", False) == "give --model ViT-B-32"
    assert right_model("ViT-B-32-256", True).startswith("set quick_gelu to true")
    for name in open_clip.list_models():
        told = right_model(name, not name.endswith(gelu.QUICK))
        assert told.startswith("set quick_gelu") or told.rpartition(" ")[2] in open_clip.list_models()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """open_clip's ViT-B-32 and ViT-B-32-quickgelu, as small as the tests' models."""
    settings = {"embed_dim": 24, "vision_cfg": model_folder.VISION, "text_cfg": model_folder.TEXT}
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "ViT-B-32", settings)
    monkeypatch.setitem(configs, "ViT-B-32-quickgelu", {**settings, "quick_gelu": True})
    return settings


def weights(path: Path) -> Path:
    module = open_clip.model.CLIP(embed_dim=24, vision_cfg=model_folder.VISION, text_cfg=model_folder.TEXT)
    torch.save(module.state_dict(), path)
    return path


def test_openais_name_on_a_plain_checkpoint_is_a_notice(tmp_path, tiny):
    path = weights(tmp_path / "ViT-B-32.pt")
    (notice,) = load_model("ViT-B-32", str(path), None).notices
    assert "weights of quick GELU, as its name says, and ViT-B-32 has exact GELU" in notice
    assert notice.endswith("give --model ViT-B-32-quickgelu")
    assert load_model("ViT-B-32-quickgelu", str(path), None).notices == ()


def test_and_the_reverse(tmp_path, tiny):
    path = weights(tmp_path / "vit_b_32-laion2b_e16-af8dbd0c.pth")
    (notice,) = load_model("ViT-B-32-quickgelu", str(path), None).notices
    assert notice.endswith("give --model ViT-B-32")


def test_a_configuration_beside_the_file_refuses_the_wrong_model(tmp_path, tiny):
    path = weights(tmp_path / "w.pt")
    (tmp_path / CONFIG).write_text(json.dumps({"model_cfg": {**tiny, "quick_gelu": True}}))
    with pytest.raises(ModelError, match=f"quick GELU, as {CONFIG} beside it says.*; give --model ViT-B-32-quickgelu"):
        load_model("ViT-B-32", str(path), None)
    assert load_model("ViT-B-32-quickgelu", str(path), None).notices == ()


def test_a_tags_gelu_is_taken_and_told(monkeypatch, tiny):
    asked = {}

    def made(name: str, **options: object) -> torch.nn.Module:
        asked.update(options)
        return torch.nn.Linear(1, 1)

    monkeypatch.setattr(open_clip, "create_model", made)
    created = creating.create("ViT-B-32", "openai")
    assert asked["force_quick_gelu"] is True
    assert created.notices == ("the weights openai are of quick GELU: the model is ViT-B-32-quickgelu",)
    assert creating.create("ViT-B-32-quickgelu", "openai").notices == ()


def test_a_tag_of_the_other_model_names_that():
    with pytest.raises(UsageError, match=r"no tag of ViT-B-32-quickgelu; its tags: openai.*; the tag is one of ViT-B-32\b"):
        create("ViT-B-32-quickgelu", "laion2b_s34b_b79k")
