"""Weights put into open_clip's module, or refused: another model's, in part, or with numbers that are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from convert.support.errors import ModelError

IMAGE = "visual."


def put_into(module: Any, weights: Mapping[str, Tensor]) -> bool:
    """The module holds the weights; whether the text tower is among them. Raises ValueError, telling what does not fit.

    The steps are those of `open_clip.load_checkpoint`, which takes a file where here there are tensors.
    """
    from convert.model.torchvision_ops import open_clip

    state: dict[str, Tensor] = dict(weights)
    wanted: dict[str, Tensor] = module.state_dict()
    if "positional_embedding" in state and not hasattr(module, "positional_embedding"):
        state = open_clip.model.convert_to_custom_text_state_dict(state)
    state = _known(state, wanted)
    text = any(not name.startswith(IMAGE) and name != "logit_scale" for name in state)
    missing = [name for name in wanted if name not in state and (text or name.startswith(IMAGE))]
    if missing:
        raise ValueError(
            f"it lacks {len(missing)} of the model's {len(wanted)} tensors, first {missing[0]}; the weights are another model's"
        )
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in wanted and state[name].numel() == 1:
            state[name] = state[name].reshape(wanted[name].shape)
    open_clip.model.resize_pos_embed(state, module)
    if text:
        open_clip.model.resize_text_pos_embed(state, module)
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            found, expected = tuple(value.shape), tuple(wanted[name].shape)
            raise ValueError(f"it has {name} of shape {found}, expected {expected}: the weights are another model's")
    module.load_state_dict(state, strict=text)
    return text


def refuse_not_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError, naming the tensor, if any holds a number that is NaN or infinite."""
    for name, value in tensors.items():
        wrong = 0 if not value.is_floating_point() else value.numel() - int(torch.isfinite(value).sum())
        if wrong:
            raise ModelError(
                f"{where}: expected finite weights, found {wrong} of {value.numel()} in {name} NaN or infinite; "
                "download or save them again, or take an earlier checkpoint of that training"
            )


def _known(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what is beside the model, as a classifier's last layer is. Raises ValueError for more layers than the model has."""
    parts = {name.partition(".")[0] for name in wanted}
    known = {name: value for name, value in state.items() if name in wanted}
    more = [
        name for name in state if name not in wanted and name.partition(".")[0] in parts and not name.endswith("position_ids")
    ]
    if more:
        raise ValueError(f"it holds {len(more)} tensors that the model has not, first {more[0]}; the weights are another model's")
    return known
