"""Which factor earns what at an exit: class token or mean patch token (SSA), shared head or one fitted in closed form, float or INT8.

Every block is looked at, not only those with an exit. INT8 is the simulated integer network
(`convert/stages/simulate.py`). Fitted heads learn from float tokens of other images, so that the same head is asked in both columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.calibrate.simulation import Simulation
from convert.heads import ridge
from convert.heads.attending import embed
from convert.model.tower import Head, Tower
from convert.stages import simulate
from convert.stages.run import batches, walk
from convert.stages.stage import Stage, Tap, build_stages, stream_role
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank

TOKENS = ("class token", "SSA")
HEADS = ("shared", "fitted")


@dataclass(frozen=True, slots=True)
class Cell:
    """The share of right answers at a block, with one token, one head, one arithmetic."""

    block: int
    token: str
    head: str
    arithmetic: str
    accuracy: float


def measure(
    simulation: Simulation,
    learned: NDArray[np.int8],
    images: NDArray[np.int8],
    wanted: NDArray[np.int64],
    bank: LabelBank,
    progress: Progress,
) -> list[Cell]:
    """All cells: fitted heads learn on `learned`, all are asked about `images` [n, H, W, 3] with right labels [n]."""
    tower = simulation.stages[0].tower
    exits = tuple(stage.part.blocks_done for stage in simulation.stages[:-1])
    stages = build_stages(tower, exits, whole=True)
    rounded = build_stages(simulate.quantized_weights(tower, codes=simulation.codes), exits, whole=True)
    tap = simulate.quantizing_tap(simulation.grids)
    taught, final = _tokens(stages, learned, None, progress)
    float_tokens, _ = _tokens(stages, images, None, progress)
    integer_tokens, _ = _tokens(rounded, images, tap, progress)
    cells = []
    for block in range(1, len(tower.blocks) + 1):
        for token in TOKENS:
            heads = {"shared": Head((tower.projection,)), "fitted": ridge.fit(taught[block, token], final)[0]}
            for head in HEADS:
                for arithmetic, tokens in (("float", float_tokens), ("INT8", integer_tokens)):
                    answers = (embed(heads[head], tokens[block, token], tower.activation) @ bank.vectors.T).argmax(1)
                    cells.append(Cell(block, token, head, arithmetic, float((answers == wanted).mean())))
    return cells


def _tokens(
    stages: Sequence[Stage], images: NDArray[np.int8], tap: Tap | None, progress: Progress
) -> tuple[dict[tuple[int, str], NDArray[np.float32]], NDArray[np.float32]]:
    """Class token and mean patch token behind norm_post [n, D] by block and token, and the final embeddings [n, E]."""
    tower = stages[0].tower
    roles = {stream_role(block): block for block in range(1, len(tower.blocks) + 1)}
    found: dict[tuple[int, str], list[Tensor]] = {(block, token): [] for block in roles.values() for token in TOKENS}
    final = []
    for batch in batches(images, progress, "tokens after every block"):
        heard: dict[int, Tensor] = {}

        def listen(role: str, x: Tensor, heard: dict[int, Tensor] = heard) -> Tensor | None:
            replaced = None if tap is None else tap(role, x)
            whole = x.numel() % (tower.tokens * tower.width) == 0
            if role in roles and roles[role] not in heard and whole:
                value = x if replaced is None else replaced
                heard[roles[role]] = value.reshape(-1, tower.tokens, tower.width)
            return replaced

        outputs = walk(stages, batch, listen)
        final.append(outputs[-1]["embedding"])
        for block, hidden in heard.items():
            for token, x in zip(TOKENS, (hidden[:, 0], hidden[:, 1:].mean(1)), strict=True):
                found[block, token].append(_normed(x, tower))
    return {key: torch.cat(parts).numpy() for key, parts in found.items()}, torch.cat(final).numpy()


def _normed(x: Tensor, tower: Tower) -> Tensor:
    """norm_post of [n, D]."""
    norm = tower.norm_post
    x = x if norm.centred else x - x.mean(-1, keepdim=True)
    energy = (x * x).sum(-1, keepdim=True) + norm.eps * x.shape[-1]
    x = x / energy.sqrt() if norm.unit else x / (energy / x.shape[-1]).sqrt()
    x = x if norm.weight is None else x * norm.weight
    return x if norm.bias is None else x + norm.bias
