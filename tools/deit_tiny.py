"""Makes a model folder of DeiT-tiny, an image classifier that others trained, from its weight file in timm's names.

    python -m tools.deit_tiny deit_tiny_patch16_224.safetensors deit-tiny --ids wnids.txt
    convert build --model deit-tiny --images PHOTOGRAPHS

The folder has no text tower: its `labels.npz` holds a vector for each of ImageNet's 1,000 names, so that the cosines between these
and an embedding stand in the order of the classifier's own logits W f + b. Softmax does not see what all classes have in common, so
W and b are centred over the classes first. Then, with f the normed class token:

    class vector  (w, b, sqrt(M^2 - |w|^2 - b^2)) / M      all of one length, M that of the longest
    embedding     (f, 1, 0)

`--ids` names a file with the WordNet ids in the order of the classes; without it, labels have no ids. The logit scale is M times the
mean length of (f, 1) over the repository's photographs. Needs the workshop's environment.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from calibration.samples import load, pixels, samples
from convert.model.load import load_model
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes

SIZE, PATCH, WIDTH, BLOCKS, HEADS, EPS = 224, 16, 192, 12, 3, 1e-6
EMBEDDING = WIDTH + 2
PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "models" / "photographs"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IN_BLOCK = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
CONFIG = {
    "model_cfg": {
        "embed_dim": EMBEDDING,
        "vision_cfg": {
            "image_size": SIZE,
            "layers": BLOCKS,
            "width": WIDTH,
            "head_width": WIDTH // HEADS,
            "patch_size": PATCH,
            "mlp_ratio": 4.0,
            "no_ln_pre": True,
            "pool_type": "tok",
            "norm_kwargs": {"eps": EPS},
        },
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    },
    "preprocess_cfg": {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "shortest"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ids", type=Path)
    arguments = parser.parse_args()
    ids = arguments.ids.read_text().split() if arguments.ids else []
    make(load_file(arguments.weights), arguments.folder, ids)
    print(arguments.folder.resolve())


def make(theirs: Mapping[str, Tensor], folder: Path, ids: Sequence[str] = ()) -> None:
    """`folder` is a model folder of these weights, with its labels and their vectors."""
    from convert.model.torchvision_ops import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    vectors, length = class_vectors(theirs["head.weight"], theirs["head.bias"])
    visual = {f"visual.{name}": value.contiguous() for name, value in tower(theirs).items()}
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=1))
    weights = folder / "open_clip_model.safetensors"
    save_file({**visual, "logit_scale": torch.tensor(0.0)}, weights)
    save_file({**visual, "logit_scale": torch.tensor(math.log(length * mean_length(folder)))}, weights)
    names = distinct(open_clip.IMAGENET_CLASSNAMES)
    (folder / "labels.txt").write_text(
        "".join(f"{line}\n" for line in (map("\t".join, zip(ids, names, strict=True)) if ids else names))
    )
    space = load_model(str(folder), None, None).space_id
    (folder / "labels.npz").write_bytes(labels_to_bytes(LabelBank(vectors.numpy(), names, (), space)))


def mean_length(folder: Path) -> float:
    """Of the embeddings of the repository's photographs."""
    model = load_model(str(folder), None, None)
    shown = load(samples([PHOTOGRAPHS]), model.preprocessing)
    with torch.no_grad():
        return float(model.encode(torch.from_numpy(pixels(shown.images))).norm(dim=1).mean())


def class_vectors(weight: Tensor, bias: Tensor) -> tuple[Tensor, float]:
    """Unit vectors [classes, D + 2], and M."""
    rows = torch.cat([weight, bias[:, None]], 1).double()
    rows = rows - rows.mean(0)
    square = rows.square().sum(1, keepdim=True)
    rest = (square.max() - square).clamp_min(0).sqrt()
    length = float(square.max().sqrt())
    return (torch.cat([rows, rest], 1) / length).float(), length


def tower(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's image tower with timm's weights."""
    position = theirs["pos_embed"][0].clone()
    position[1:] += theirs["patch_embed.proj.bias"]  # open_clip's patch convolution has none
    gamma, beta = theirs["norm.weight"].double(), theirs["norm.bias"].double()
    # The plain normed token sums to zero, so 1 / gamma reads sum(beta / gamma) of the token with weight and bias, whatever the image.
    one = 1 / gamma / (beta / gamma).sum()
    projection = torch.cat([torch.eye(WIDTH).double(), one[:, None], torch.zeros(WIDTH, 1).double()], 1)
    found = {
        "class_embedding": theirs["cls_token"].reshape(-1),
        "positional_embedding": position,
        "conv1.weight": theirs["patch_embed.proj.weight"],
        "ln_post.weight": theirs["norm.weight"],
        "ln_post.bias": theirs["norm.bias"],
        "proj": projection.float(),
    }
    for name, value in theirs.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.*)\.(weight|bias)", name)
        if match:
            number, layer, part = match.groups()
            inner = f"attn.in_proj_{part}" if layer == "attn.qkv" else f"{IN_BLOCK[layer]}.{part}"
            found[f"transformer.resblocks.{number}.{inner}"] = value
    return found


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, a number behind those that occur before."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    count: dict[str, int] = {}
    found = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        found.append(name if count[name] == 1 else f"{name} ({count[name]})")
    return tuple(found)


if __name__ == "__main__":
    main()
