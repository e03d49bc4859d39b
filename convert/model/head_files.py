"""`heads.safetensors` of a model folder: the weights of every exit's own head, `06.fc_1.weight`, `06.fc_1.bias`, `06.embedding.weight`, …

Two layers are called fc_1 and embedding, a single one embedding; with attention, its queries are called scores and its values value, and
where it reads the class token too there is a `06.scores.class_token`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from convert.model.tower import Attention, Head, Linear
from convert.model.weights.fitting import refuse_not_finite
from convert.support.errors import ModelError
from tflite_runtime_app.errors import in_one_line

FILE = "heads.safetensors"


def to_bytes(heads: Mapping[int, Head]) -> bytes:
    """The file's bytes, weights in float16."""
    from safetensors.torch import save

    arrays = {}
    for done, head in heads.items():
        for name, layer in head.linear.items():
            arrays[f"{done:02d}.{name}.weight"] = layer.weight.half().contiguous()
            arrays[f"{done:02d}.{name}.bias"] = layer.bias.half().contiguous()
        if head.attention is not None and head.attention.class_token:
            arrays[f"{done:02d}.scores.class_token"] = torch.ones(1, dtype=torch.float16)
    return bytes(save(arrays))


def read(folder: Path | None, width: int, embedding: int) -> dict[int, Head]:
    """The heads of a model folder by blocks done, none without the file. Raises ModelError for a file that does not fit the tower."""
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return {}
    from safetensors.torch import load

    try:
        arrays = {name: value.float() for name, value in load(path.read_bytes()).items()}
        heads = {done: _head(arrays, done) for done in sorted({int(name.split(".")[0]) for name in arrays})}
    except Exception as error:  # the library's own errors, names that are no numbers, layers that lack a part
        raise ModelError(f"{path} is no file of heads: {in_one_line(error)}; make it with: convert heads") from error
    refuse_not_finite(arrays, str(path))
    for done, head in heads.items():
        found, wanted = _sizes(head), _wanted(head, width, embedding)
        if found != wanted:
            raise ModelError(
                f"{path}: the head of block {done} has layers {found}, expected {wanted} for this tower; make it with: convert heads"
            )
    return heads


def digest(heads: Mapping[int, Head]) -> str:
    """What identifies the heads; empty for none."""
    return hashlib.sha256(to_bytes(heads)).hexdigest() if heads else ""


def _head(arrays: Mapping[str, torch.Tensor], done: int) -> Head:
    names = {name.split(".")[1] for name in arrays if name.startswith(f"{done:02d}.")}
    layers = {name: Linear(arrays[f"{done:02d}.{name}.weight"], arrays[f"{done:02d}.{name}.bias"]) for name in names}
    everywhere = f"{done:02d}.scores.class_token" in arrays
    attention = Attention(layers.pop("scores"), layers.pop("value"), everywhere) if "scores" in layers else None
    if "embedding" not in layers:
        raise ValueError(f"block {done} has no layer called embedding")
    last = layers.pop("embedding")
    head = Head((layers.pop("fc_1"), last) if layers else (last,), attention)
    if layers:
        raise ValueError(f"block {done} has a layer {min(layers)!r}")
    return head


def _sizes(head: Head) -> dict[str, tuple[int, ...]]:
    """[out, in] of every layer."""
    return {name: tuple(layer.weight.shape) for name, layer in head.linear.items()}


def _wanted(head: Head, width: int, embedding: int) -> dict[str, tuple[int, ...]]:
    """[out, in] that every layer should have, its own widths given."""
    wanted, read = {}, width
    if head.attention is not None:
        queries, values = len(head.attention.queries.weight), len(head.attention.values.weight)
        wanted, read = {"scores": (queries, width), "value": (values, width)}, queries * values
    if len(head.layers) > 1:
        wanted["fc_1"] = (len(head.layers[0].weight), read)
        read = len(head.layers[0].weight)
    return {**wanted, "embedding": (embedding, read)}
