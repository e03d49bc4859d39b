"""A tower that cannot be converted is refused in one line, by what it is, before weights are fetched or images are read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from convert.cli import main
from convert.model.supported import SUPPORTED, refuse_configuration
from convert.model.torchvision_ops import open_clip
from convert.model.tower import tower_from_open_clip
from convert.support.errors import UnsupportedTower
from tests.convert.model_folder import TEXT, write_pictures
from tests.convert.small import DEVIATION, MEAN

SMALL: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 16}
TIMM: dict[str, Any] = {"timm_proj": "linear", "image_size": 32}

# vision_cfg -> what the message must name.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "CLIP's ResNet": (
        {"layers": [1, 1, 1, 1], "width": 16, "head_width": 32, "image_size": 64},
        "a ResNet tower (ModifiedResNet)",
    ),
    "ConvNeXt": ({**TIMM, "timm_model_name": "convnext_atto", "timm_pool": ""}, "a timm tower (TimmModel: convnext_atto"),
    "timm's ViT": (
        {**TIMM, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "image_size": 224},
        "a timm tower (TimmModel: vit_tiny_patch16_224",
    ),
    "SigLIP's MAP head": (
        {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map", "timm_proj": "none", "image_size": 224},
        "vit_tiny_patch16_224, pooled by map)",
    ),
    "attentional pooler": (
        {**SMALL, "attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 4},
        "attentional pooling (AttentionalPooler)",
    ),
    "CoCa's two poolers": (
        {**SMALL, "attentional_pool": "parallel", "attn_pooler_heads": 4, "attn_pooler_queries": 4},
        "attentional pooling (AttentionalPooler)",
    ),
    "tanh GELU": ({**SMALL, "act_kwargs": {"approximate": "tanh"}}, "the activation GELU(approximate='tanh')"),
    "no pooling": ({**SMALL, "pool_type": "none"}, "pool_type 'none'"),
    "normed queries and keys": ({**SMALL, "qk_norm": True}, "CustomResidualAttentionBlock"),
    "scaled heads": ({**SMALL, "scale_heads": True}, "CustomResidualAttentionBlock"),
    "tokens put out": ({**SMALL, "output_tokens": True}, "(output_tokens)"),
    "as many patches as channels": ({**SMALL, "image_size": 64}, "64 patches and a class token on 64 channels"),
    "as many tokens as channels": ({**SMALL, "image_size": [72, 56]}, "63 patches and a class token on 64 channels"),
    "image smaller than a patch": ({**SMALL, "image_size": [32, 6]}, "images of 32 x 6, which hold no patch of 8 x 8"),
}
# What open_clip itself cannot build: its reason is passed on.
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "sine positions on a grid that is no square": (
        {**SMALL, "image_size": [32, 48], "pos_embed_type": "sin_cos_2d"},
        "only supports square input",
    ),
    "heads that do not divide the width": ({**SMALL, "width": 60, "head_width": 8}, "divisible by num_heads"),
    "a head wider than the tower": ({**SMALL, "head_width": 128}, "num_heads=0"),
    "an unknown setting": ({**SMALL, "registers": 4}, "'registers'"),
    "unknown pooling": ({**SMALL, "pool_type": "max"}, "AssertionError"),
}


def write(folder: Path, vision: dict[str, Any], weights: bool) -> Path:
    """`folder` is a model folder with labels, and with random weights if wanted."""
    folder.mkdir()
    settings = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}
    configuration = {"model_cfg": settings, "preprocess_cfg": {"mean": MEAN, "std": DEVIATION}}
    (folder / "open_clip_config.json").write_text(json.dumps(configuration))
    (folder / "labels.txt").write_text("cat\ndog\n")
    if weights:
        state = open_clip.model.CLIP(**settings).state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images that nobody may read, in a working directory that must stay empty."""

    def read(*_: object) -> None:
        raise AssertionError("images were read")

    monkeypatch.setattr("convert.calibrate.from_images.load_images", read)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return write_pictures(tmp_path / "pictures", 2)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `convert build` ends with; nothing was written."""
    assert main(["build", *map(str, arguments)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("convert: ")
    assert list(Path.cwd().iterdir()) == []
    return line


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_without_weights(case: str, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]):
    """The configuration alone is enough: there are no weights to read."""
    vision, named = REFUSED[case]
    begin = time.monotonic()
    line = refused(capsys, "--model", write(tmp_path / "model", vision, weights=False), "--images", images)
    assert time.monotonic() - begin < 5
    assert named in line
    assert line.endswith(f"; what can be converted: {SUPPORTED}")


@pytest.mark.parametrize("case", ["CLIP's ResNet", "ConvNeXt", "SigLIP's MAP head", "attentional pooler"])
def test_the_module_itself_is_refused_too(case: str):
    """Whoever hands over a loaded tower gets the same answer; here its weights are real, if random."""
    vision, named = REFUSED[case]
    visual = open_clip.model.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=TEXT).visual
    with pytest.raises(UnsupportedTower) as caught:
        tower_from_open_clip(visual, MEAN, DEVIATION)
    kind = "TimmModel" if "timm" in named or "map" in named else named
    assert kind in str(caught.value)
    assert str(caught.value).endswith(SUPPORTED)


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_open_clip_cannot_build_is_refused_with_its_reason(
    case: str, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
):
    vision, reason = IMPOSSIBLE[case]
    line = refused(capsys, "--model", write(tmp_path / "model", vision, weights=False), "--images", images)
    assert "open_clip cannot build the image tower that vision_cfg describes: " in line
    assert reason in line


@pytest.mark.parametrize(
    ("model", "tag", "named"),
    [
        ("RN50", "openai", "ModifiedResNet"),
        ("convnext_base", "laion400m_s13b_b51k", "convnext_base"),
        ("ViT-B-16-SigLIP", "webli", "vit_base_patch16_siglip_224, pooled by map"),
        ("EVA02-B-16", "merged2b_s8b_b131k", "eva02_base_patch16_clip_224"),
        ("MobileCLIP-B", "datacompdr", "vit_base_mci_224"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "AttentionalPooler"),
    ],
)
def test_open_clips_own_are_refused_before_their_weights_are_fetched(
    model: str, tag: str, named: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("weights were asked for")

    assert tag in open_clip.list_pretrained_tags_by_model(model)
    for name in ("create_model", "get_tokenizer"):
        monkeypatch.setattr(open_clip, name, fetch)
    line = refused(capsys, "--model", model, "--pretrained", tag, "--labels", "cat, dog", "--images", images)
    assert named in line
    assert line.endswith(SUPPORTED)


def test_a_tokenizer_that_cannot_be_fetched_is_told_in_one_line(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The tower is a plain one, its text tower's tokenizer is another library's; its files are not in the folder."""
    folder = write(tmp_path / "model", SMALL, weights=True)
    configuration = json.loads((folder / "open_clip_config.json").read_text())
    configuration["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "nobody/nothing"
    (folder / "open_clip_config.json").write_text(json.dumps(configuration))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    line = refused(capsys, "--model", folder, "--images", images)
    assert f"could not load the tokenizer of local-dir:{folder}: " in line
    assert "--model" in line


def test_what_convert_proposes_for_a_board_is_what_it_accepts():
    """The towers that `convert/board/estimate.py` names when another does not fit are none that would be refused next."""
    from convert.board.estimate import open_clip_shapes

    names = [name for name, _ in open_clip_shapes()]
    assert "ViT-B-32" in names
    for name in names:
        refuse_configuration(open_clip.get_model_config(name))
