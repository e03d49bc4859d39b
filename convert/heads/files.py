"""`heads.safetensors` of a model folder: the weights of every exit's own head, `06.0.weight`, `06.0.bias`, `06.1.weight`, …"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from convert.errors import ModelError
from convert.tower import Head, Linear

FILE = "heads.safetensors"


def to_bytes(heads: Mapping[int, Head]) -> bytes:
    """The file's bytes, weights in float16."""
    from safetensors.torch import save

    arrays = {}
    for done, head in heads.items():
        for number, layer in enumerate(head.layers):
            arrays[f"{done:02d}.{number}.weight"] = layer.weight.half().contiguous()
            arrays[f"{done:02d}.{number}.bias"] = layer.bias.half().contiguous()
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
        raise ModelError(
            f"{path} is no file of heads: {' '.join(str(error).split())[:200]}; make it with: convert heads"
        ) from error
    for done, head in heads.items():
        sizes = [head.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in head.layers)]
        joined = all(a.weight.shape[0] == b.weight.shape[1] for a, b in zip(head.layers, head.layers[1:], strict=False))
        if sizes[0] != width or sizes[-1] != embedding or not joined or len(head.layers) > 2:
            raise ModelError(f"{path}: the head of block {done} has widths {sizes}, expected {width} … {embedding}")
    return heads


def digest(heads: Mapping[int, Head]) -> str:
    """What identifies the heads; empty for none."""
    return hashlib.sha256(to_bytes(heads)).hexdigest() if heads else ""


def _head(arrays: Mapping[str, torch.Tensor], done: int) -> Head:
    numbers = sorted({int(name.split(".")[1]) for name in arrays if name.startswith(f"{done:02d}.")})
    return Head(tuple(Linear(arrays[f"{done:02d}.{n}.weight"], arrays[f"{done:02d}.{n}.bias"]) for n in numbers))
