"""The linear layers of the stages by name, what enters them, and how their weights' codes are written down.

A layer's name is the role of what it gives: `embed/patch`, `block_03/query`, `block_03/mlp`; the heads share `head/embedding`, but for
exits with layers of their own, `head_06/fc_1`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import kind
from calibration.rounding import nearest
from calibration.two_term import ONCE_MORE, PATCH
from convert.model.tower import Linear
from convert.stages.stage import Stage, head_role, stream_role
from convert.support.errors import CalibrationError

HEAD = "head/embedding"


def layer_name(role: str) -> str:
    """The layer whose result has this role."""
    return HEAD if role.startswith("stage_") and kind(role) == "embedding" else ONCE_MORE.get(role, role)


def layers(stages: Sequence[Stage]) -> dict[str, Linear]:
    """Every linear layer, weights [out, in] as the stages hold them."""
    tower = stages[0].tower
    found = {PATCH: stages[0].patch, HEAD: tower.projection}
    if tower.after_norm_pre is not None:
        found[stream_role(0)] = tower.after_norm_pre
    for number, block in enumerate(tower.blocks, start=1):
        parts = (block.query, block.key, block.value, block.out, block.fc_1, block.fc_2)
        names = ("query", "key", "value", "attention", "fc_1", "mlp")
        found |= {f"block_{number:02d}/{name}": layer for name, layer in zip(names, parts, strict=True)}
    for stage in stages[:-1]:
        own, role = tower.exit_heads.get(stage.part.blocks_done), head_role(stage.part.blocks_done)
        if own is not None:
            found |= {f"{role}/{name}": layer for name, layer in own.linear.items()}
    return found


def input_role(layer: str, seen: Collection[str]) -> str:
    """The role of what the layer reads."""
    block, part = layer.split("/")
    if layer == HEAD:
        return next(
            role for role in sorted(seen, reverse=True) if role.startswith("stage_") and role.endswith("final/norm_post/normed")
        )
    if block.startswith("head_"):
        before = {"embedding": ("gelu", "mixed"), "fc_1": ("mixed",)}.get(part, ())
        return next((f"{block}/{name}" for name in before if f"{block}/{name}" in seen), f"{block}/norm_post/normed")
    known = {"patch": "image", "stream": "embed/norm_pre/normed", "attention": f"{block}/mixed", "mlp": f"{block}/gelu"}
    norm = f"{block}/norm_2/normed" if part == "fc_1" else f"{block}/norm_1/normed"
    return known.get(part, norm)


def steps_off(stages: Sequence[Stage], codes: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
    """How far each weight's code lies from its nearest: few and small, so it packs well."""
    wanted = layers(stages)
    return {
        name: (found.astype(np.int16) - nearest(wanted[name].weight.numpy())).astype(np.int8) for name, found in codes.items()
    }


def codes_of(stages: Sequence[Stage], rounding: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
    """The codes that `steps_off` came from. Raises CalibrationError when they are another model's."""
    wanted = layers(stages)
    shapes = {name: tuple(layer.weight.shape) for name, layer in wanted.items()}
    if rounding and {name: steps.shape for name, steps in rounding.items()} != shapes:
        raise CalibrationError(
            "the calibration's rounded weights belong to another tower; calibrate again: --images FOLDER|ARCHIVE"
        )
    near = {name: nearest(wanted[name].weight.numpy()).astype(np.int16) for name in rounding}
    return {name: np.clip(near[name] + steps, -127, 127).astype(np.int8) for name, steps in rounding.items()}
