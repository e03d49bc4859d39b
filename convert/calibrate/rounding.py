"""The weights of every layer rounded by GPTQ (`calibration/rounding.py`), from images through the float stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.rounding import Moments, gptq
from convert.stages.layers import input_role, layer_name, layers
from convert.stages.run import batches, walk
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Progress


def rounded(
    stages: Sequence[Stage], grids: Mapping[str, Grid], images: NDArray[np.int8], progress: Progress
) -> dict[str, NDArray[np.int8]]:
    """GPTQ codes of every layer, from image tensors [n, H, W, 3]. Queries, keys and values read the same and are rounded at once.

    The last block is run whole: one row an image would be fewer rows than its layers have inputs.
    """
    wanted, exits = layers(stages), tuple(stage.part.blocks_done for stage in stages[:-1])
    whole = build_stages(stages[0].tower, exits, whole=True)
    groups: dict[str, list[str]] = {}
    for name in wanted:
        groups.setdefault(_first_reader(name), []).append(name)
    moments = Moments(frozenset(groups))
    for batch in batches(images, progress, "inputs of the layers"):
        walk(whole, batch, reader=partial(_listen, moments))
    found = moments.result()
    codes: dict[str, NDArray[np.int8]] = {}
    for first, names in progress.over(groups.items(), len(groups), "weights rounded, input by input"):
        rows = [wanted[name].weight.numpy() for name in names]
        together = gptq(np.concatenate(rows), found[first], grids[input_role(first, grids)].scale)
        codes |= dict(zip(names, np.split(together, np.cumsum([len(part) for part in rows])[:-1]), strict=True))
    return {name: codes[name] for name in wanted}


def _first_reader(layer: str) -> str:
    """The first of the layers that read what this one reads, as a block's queries do for its keys and a head's for its values."""
    block, part = layer.split("/")
    first = "scores" if block.startswith("head_") else "query"
    return f"{block}/{first}" if part in ("key", "value") else layer


def _listen(moments: Moments, role: str, rows: torch.Tensor) -> None:
    """Show `moments` what a layer reads; exits' heads read something else than the last one and are left out."""
    if not role.endswith("exit/embedding"):
        moments(layer_name(role), rows.reshape(-1, rows.shape[-1]).numpy())
