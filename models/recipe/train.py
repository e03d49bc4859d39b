"""One phase of training: steps that can be broken off at any time and gone on with, bit for bit as if they had not been.

Everything random in a step comes from a generator seeded by (seed, phase, step); the checkpoint holds the weights, their running average,
the optimiser and the step. It is written under a temporary name first.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from convert.heads import augment
from convert.support import precision
from convert.support.kept import checkpoint, restored
from models.recipe import losses, tower
from models.recipe.images import Sets, TrainingImages
from models.recipe.names import Bank
from models.recipe.plan import Phase

HEAD = ("ln_post", "proj")
SAVED_EVERY = 300  # seconds
CLIPPED = 2.0  # the largest norm of the gradient
USUAL = 0.05  # root mean square of a weight matrix a few hundred channels wide


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change from step to step. `mean` and `deviation` are the tower's, `teach` gives a teacher's view of crops."""

    phase: Phase
    number: int
    seed: int
    side: int
    mean: Tensor
    deviation: Tensor
    bank: Bank
    kinds: losses.Kinds | None
    images: Sets
    device: torch.device
    teach: Callable[[Tensor], losses.Taught] | None = None

    @property
    def steps(self) -> int:
        """How many there are."""
        return self.phase.samples // self.phase.batch


@dataclass(slots=True)
class State:
    """What a step changes: the tower, the logarithm of the logits' scale, the linear map to the teacher's tokens, the exits' readers, and
    the averages."""

    visual: Any
    scale: nn.Parameter
    bridge: nn.Linear | None
    readers: nn.ModuleDict | None
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0


def prepare(setting: Setting, visual: Any, scale: float, bridge: nn.Linear | None) -> State:
    """A fresh state: AdamW with a rate that falls from block to block towards the input."""
    visual.to(setting.device).train()
    blocks, groups = len(visual.transformer.resblocks), []
    for name, parameter in visual.named_parameters():
        if name.startswith(setting.phase.fixed):
            continue
        rate = setting.phase.rate * setting.phase.layer_decay ** (blocks + 1 - _depth(name, blocks))
        if setting.phase.relative:
            rate *= min(1.0, float(parameter.detach().pow(2).mean().sqrt()) / USUAL)
        decay = setting.phase.weight_decay if parameter.ndim > 1 and name != "positional_embedding" else 0.0
        groups.append({"params": [parameter], "lr": rate, "peak": rate, "weight_decay": decay})
    logarithm = nn.Parameter(torch.tensor(scale, device=setting.device))
    readers = None
    if setting.phase.readers:
        torch.manual_seed(setting.seed)
        readers = tower.readers_of(setting.phase.exits, *visual.proj.shape)
    for layer in (bridge, readers):
        if layer is not None:
            layer.to(setting.device)
            groups.append({"params": list(layer.parameters()), "lr": 1e-3, "peak": 1e-3, "weight_decay": 0.0})
    if "logit_scale" not in setting.phase.fixed:
        groups.append({"params": [logarithm], "lr": 1e-3, "peak": 1e-3, "weight_decay": 0.0})
    average = {name: value.detach().clone() for name, value in visual.state_dict().items()}
    return State(visual, logarithm, bridge, readers, torch.optim.AdamW(groups, betas=(0.9, 0.98)), average)


def _depth(name: str, blocks: int) -> int:
    """Where a parameter stands: 0 before the blocks, their numbers from 1 on, and one more for the head."""
    if name.startswith("transformer.resblocks."):
        return int(name.split(".")[2]) + 1
    return blocks + 1 if name.startswith(HEAD) else 0


def train(setting: Setting, state: State, kept: Path, log: Path, deadline: float, wrap: Callable[[range], Iterable[int]]) -> bool:
    """Takes the steps that are left until all are done (True) or `deadline` (time.monotonic) has passed (False); saved in both cases."""
    hits, saved, since, began = 0.0, time.monotonic(), time.monotonic(), state.step
    with log.open("a", encoding="utf-8") as lines:
        for number in wrap(range(state.step, setting.steps)):
            loss, right = step(setting, state)
            hits = right if number == began else 0.95 * hits + 0.05 * right
            now = time.monotonic()
            if number % 10 == 0:
                speed, scale = setting.phase.batch * (state.step - began) / (now - since), state.scale.exp().item()
                row = {"phase": setting.phase.name, "step": number, "of": setting.steps, "loss": round(loss, 4)}
                row |= {"right": round(hits, 4), "scale": round(scale, 2), "pictures_per_s": round(speed, 1)}
                print(json.dumps(row), file=lines, flush=True)
            if now - saved > SAVED_EVERY or now > deadline:
                save(state, kept)
                saved = now
            if now > deadline:
                return state.step == setting.steps
    save(state, kept)
    return True


def step(setting: Setting, state: State) -> tuple[float, float]:
    """One step; the loss and the share of images whose strongest target the last block answers."""
    phase, source = setting.phase, Generator().manual_seed(_seed(setting, state.step))
    _set_rates(setting, state)
    tiles = float(torch.rand(1, generator=source)) < phase.sheets if setting.images.tiles is not None else False
    images = setting.images.drawn(tiles)
    chosen = _batch(setting, images, state.step)
    x = augment.views(
        torch.from_numpy(images.pixels[chosen.numpy()]),
        (setting.side, setting.side),
        setting.mean,
        setting.deviation,
        phase.smallest_crop,
        source,
    )
    targets = losses.right_names(torch.from_numpy(images.classes[chosen.numpy()]).clamp_min(0), len(setting.bank.starts) - 1)
    if float(torch.rand(1, generator=source)) < phase.mix:
        x, targets = augment.mixed(x, targets, source)
    bank = setting.bank.drawn(source)
    x, targets, bank = (value.to(setting.device) for value in (x, targets, bank))
    taught = setting.teach(x) if setting.teach is not None else None
    if not phase.names and taught is not None:
        targets = losses.logits(taught.embedding, bank, state.scale.detach().exp()).softmax(-1)
    with precision.fast(setting.device, len(state.visual.positional_embedding)):
        seen = tower.run(state.visual, x, phase.exits, source, phase.noise, phase.drop, state.readers).float()
    loss = losses.loss(
        phase, seen, targets, bank, kinds=setting.kinds, scale=state.scale.exp(), taught=taught, bridge=state.bridge
    )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([p for group in state.optimizer.param_groups for p in group["params"]], CLIPPED)
    state.optimizer.step()
    state.step += 1
    keep = min(phase.average, state.step / (state.step + 9))
    with torch.no_grad():
        for name, value in state.visual.state_dict().items():
            state.average[name].lerp_(value, 1 - keep)
        right = losses.logits(seen.embedding, bank, 1.0).argmax(-1) == targets.argmax(-1)
    return loss.item(), right.float().mean().item()


def save(state: State, path: Path) -> None:
    """The state on disk, whole or not at all."""
    kept = {
        "visual": state.visual.state_dict(),
        "average": state.average,
        "scale": state.scale.detach(),
        "bridge": state.bridge.state_dict() if state.bridge is not None else None,
        "readers": state.readers.state_dict() if state.readers is not None else None,
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
    }
    checkpoint(path, kept)


def load(state: State, path: Path) -> None:
    """The state as it was saved."""
    kept = restored(path)
    state.visual.load_state_dict(kept["visual"])
    for name, value in kept["average"].items():
        state.average[name].copy_(value)
    with torch.no_grad():
        state.scale.copy_(kept["scale"])
    if state.bridge is not None:
        state.bridge.load_state_dict(kept["bridge"])
    if state.readers is not None:
        state.readers.load_state_dict(kept["readers"])
    state.optimizer.load_state_dict(kept["optimizer"])
    state.step = kept["step"]


def _set_rates(setting: Setting, state: State) -> None:
    """A linear warm-up, then a cosine down to a fiftieth."""
    warm = min(1.0, (state.step + 1) / setting.phase.warm_up)
    share = warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * state.step / setting.steps)))
    for group in state.optimizer.param_groups:
        group["lr"] = group["peak"] * share


def _batch(setting: Setting, images: TrainingImages, step: int) -> Tensor:
    """The images of a step: every pass goes through all of them once, in an order of its own; what is left at a pass's end is dropped.

    Where two sets take turns, each passes over the places of the other's steps."""
    batch = setting.phase.batch
    a_pass = len(images) // batch
    order = torch.randperm(len(images), generator=Generator().manual_seed(_seed(setting, -1 - step // a_pass)))
    first = step % a_pass * batch
    return order[first : first + batch]


def _seed(setting: Setting, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{setting.seed} {setting.number} {step}".encode()).digest()[:7])
