"""DeiT-tiny as a model folder, with random weights: the classifier's own logits come back as cosines. The reference is written out here."""

import pytest
import torch
import torch.nn.functional as F

from convert.model.labels import embed_labels, read_label_list
from convert.model.load import load_model
from convert.support.errors import UsageError
from tflite_runtime_app.text.label_list import LabelList
from tools import deit_tiny
from tools.deit_tiny import BLOCKS, EPS, HEADS, MEAN, PATCH, SIZE, WIDTH

CLASSES = 1000


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, (SIZE // PATCH) ** 2 + 1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "head.weight": (CLASSES, WIDTH),
        "head.bias": (CLASSES,),
    }
    for n in range(BLOCKS):
        layers = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "mlp.fc1": (4 * WIDTH, WIDTH)}
        layers["mlp.fc2"] = (WIDTH, 4 * WIDTH)
        for name, shape in layers.items():
            shapes |= {f"blocks.{n}.{name}.weight": shape, f"blocks.{n}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{n}.{name}.weight": (WIDTH,), f"blocks.{n}.{name}.bias": (WIDTH,)}
    norms = ("norm.weight", "norm1.weight", "norm2.weight")
    return {
        name: torch.rand(shape) + 0.5 if name.endswith(norms) else torch.randn(shape) * (0.3 if "bias" in name else 0.05)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    made = tmp_path_factory.mktemp("deit") / "deit-tiny"
    deit_tiny.make(weights, made, [f"n{k:08d}" for k in range(CLASSES)])
    return made


def classifier(w: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """The logits [n, 1000] of normalised pixels [n, 3, H, W], as the paper has it (arXiv 2012.12877)."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], EPS)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]
    for n in range(BLOCKS):
        b = f"blocks.{n}"
        q, k, v = (
            linear(norm(x, f"{b}.norm1"), f"{b}.attn.qkv").reshape(len(x), -1, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        )
        mixed = torch.softmax(q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5, -1) @ v
        x = x + linear(mixed.transpose(1, 2).reshape(x.shape), f"{b}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{b}.norm2"), f"{b}.mlp.fc1")), f"{b}.mlp.fc2")
    return linear(norm(x, "norm")[:, 0], "head")


def test_cosines_stand_in_the_order_of_the_classifiers_logits(weights, folder):
    model = load_model(str(folder), None, None)
    assert model.text is False
    bank = embed_labels(read_label_list(None, model), model)
    images = torch.rand(4, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1))
    mean, deviation = (torch.tensor(values) for values in (MEAN, deit_tiny.DEVIATION))
    logits = classifier(weights, ((images - mean) / deviation).permute(0, 3, 1, 2))
    embedding = model.encode(images)
    found = embedding @ torch.from_numpy(bank.vectors).T
    wanted = logits - logits.mean(1, keepdim=True)
    _, length = deit_tiny.class_vectors(weights["head.weight"], weights["head.bias"])
    assert float((found * length - wanted).abs().max()) < 2e-2, "label vectors are kept in float16"
    assert torch.equal(found.argmax(1), wanted.argmax(1))
    assert float((embedding[:, WIDTH] - 1).abs().max()) < 1e-3, "the constant that reads the bias"


def test_labels_are_imagenets_each_once_with_their_ids(folder):
    labels = read_label_list(None, load_model(str(folder), None, None))
    assert len(set(labels.names)) == CLASSES
    assert labels.ids[:2] == ("n00000000", "n00000001")


def test_a_name_without_a_vector_is_told(folder):
    model = load_model(str(folder), None, None)
    some = embed_labels(LabelList(("goldfish",), ("goldfish",)), model)
    assert some.names == ("goldfish",)
    with pytest.raises(UsageError, match=r"no vector for the label 'a red mug'.*knows 1000 names; choose among these"):
        embed_labels(LabelList(("goldfish", "a red mug"), ("goldfish", "a red mug")), model)
