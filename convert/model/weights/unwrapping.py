"""The weights of one CLIP model among what a checkpoint holds, under the names that open_clip has for them.

People wrap a state dict in dictionaries (`state_dict`, `model`, `model_ema`) and modules (`module.`, `_orig_mod.`, Lightning's `model.`,
WiSE-FT's `image_encoder.model.`), in each other. All of these are steps of one path to a tensor, so one rule takes them off: what lies
before `visual.class_embedding` lies before every weight of that model, and what lies elsewhere is no weight of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convert.model.weights import transformers_names

ANCHOR = "visual.class_embedding"
TOWER_ANCHOR = "class_embedding"  # of an image tower alone
DEPTH = 60  # steps of a path; what is nested deeper is no model
BETWEEN = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # wrappers that may stand anywhere
INSIDE = {"_parameters", "_buffers", "_modules"}  # where a module that was saved whole keeps its parts
NO_WEIGHTS = re.compile(r"optim|momentum|grad|exp_avg")
AVERAGED = re.compile(r"(^|_)(ema|swa|averaged?|avg|shadow)(_|$)|EMA|Ema")


@dataclass(frozen=True, slots=True)
class Found:
    """A model's weights by open_clip's names, and what the user should know of how they were chosen."""

    weights: dict[str, Tensor]
    notices: tuple[str, ...] = ()


def weights_in(stored: Any) -> Found:
    """The weights of the one CLIP model in what was stored. Raises ValueError where there is none, or more than one."""
    tensors = dict(_tensors(stored, (), frozenset()))
    names = {path: ".".join(path) for path in tensors}
    found = _beneath(tensors, names, ANCHOR)
    if found is not None:
        return found
    found = _beneath(tensors, names, transformers_names.ANCHOR)
    if found is not None:
        return Found(transformers_names.to_open_clip(found.weights), found.notices)
    found = _beneath(tensors, names, TOWER_ANCHOR)
    if found is not None and "conv1.weight" in found.weights:
        return Found({f"visual.{name}": value for name, value in found.weights.items()}, found.notices)
    raise ValueError(_what(list(names.values())))


def _tensors(value: Any, path: tuple[str, ...], above: frozenset[int]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Every tensor with its path, the steps that say nothing left out."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping) and id(value) not in above and len(path) < DEPTH:
        for key, inner in value.items():
            if isinstance(key, str):
                steps = (step for step in key.split(".") if step not in BETWEEN | INSIDE)
                yield from _tensors(inner, (*path, *steps), above | {id(value)})


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _beneath(tensors: Mapping[tuple[str, ...], Tensor], names: Mapping[tuple[str, ...], str], anchor: str) -> Found | None:
    """What lies beneath the one prefix that stands before the anchor; None where the anchor is nowhere."""
    prefixes = sorted({name.removesuffix(anchor) for name in names.values() if _ends(name, anchor)}, key=lambda p: (len(p), p))
    prefixes = [prefix for prefix in prefixes if not NO_WEIGHTS.search(prefix)]
    if not prefixes:
        return None
    plain = [prefix for prefix in prefixes if not _averaged(prefix)]
    models = {prefix: _under(prefix, tensors, names) for prefix in (plain or prefixes)}
    chosen, *others = models
    if any(not _same(models[chosen], models[other]) for other in others):
        under = " and ".join(repr(prefix.rstrip(".")) for prefix in models)
        raise ValueError(f"it holds {len(models)} models, under {under}; save the one that you mean alone")
    aside = [prefix.rstrip(".") for prefix in prefixes if plain and _averaged(prefix)]
    notices = (f"the averaged weights under {aside[0]!r} are left aside; save them alone to take them",) if aside else ()
    return Found(models[chosen], notices)


def _averaged(prefix: str) -> bool:
    return any(AVERAGED.search(step) for step in prefix.split("."))


def _under(prefix: str, tensors: Mapping[tuple[str, ...], Tensor], names: Mapping[tuple[str, ...], str]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensors[path] for path, name in names.items() if name.startswith(prefix)}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether one model lies under two names."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _what(names: Collection[str]) -> str:
    """What a checkpoint without a CLIP model's weights holds, and what to do."""
    whole = "give weights of the whole model"
    if not names:
        return f"it holds no tensors; {whole}"
    if any("lora_" in name for name in names):
        return f"it is a LoRA adapter, which is no model: merge it into its model, save that, and {whole}"
    if any(_ends(name, "visual.attnpool.positional_embedding") or ".attnpool." in name for name in names):
        return "it holds a ResNet tower, which cannot be converted; give weights of a ViT"
    if any("visual.trunk." in name for name in names):
        return "it holds a timm tower, which cannot be converted; give weights of one of open_clip's own ViTs"
    first = ", ".join(sorted(names)[:3])
    return f"it holds no image tower of CLIP's: expected …{ANCHOR}, found {len(names)} tensors ({first}, …); {whole}"
