"""`convert heads`: train exits' own heads on labelled pictures and keep them in the model's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from convert.errors import UsageError
from convert.files import write_atomically
from convert.heads import files, ridge
from convert.heads.pooled import pooled_tokens
from convert.heads.training import embed, train
from convert.label_files import embed_labels, read_label_list
from convert.models import load_model
from convert.pictures import load_pictures
from convert.progress import OnTerminal
from convert.tower import Head
from tflite_runtime_app.labels import LabelBank

HELD = 10  # every tenth picture is kept apart
LEAST = 500
HEADS = ("fitted", "trained")


def run(
    images: tuple[Path, ...],
    model: str | None,
    labels: str | None,
    blocks: str,
    kind: str,
    seed: int,
    models: Path | None,
) -> None:
    """The model folder's heads.safetensors has a head of that kind for each of the blocks; a table shows all kinds."""
    if kind not in HEADS:
        raise UsageError(f"--kind {kind!r} is none of {', '.join(HEADS)}")
    progress = OnTerminal()
    loaded = load_model(model, None, models)
    if loaded.folder is None:
        raise UsageError(f"{loaded.name} is not a model folder; give one with --model DIR")
    names = read_label_list(labels, loaded)
    bank = embed_labels(names, loaded)
    pictures = load_pictures(images, loaded.preprocessing, progress)
    if len(pictures) < LEAST:
        raise UsageError(f"--images holds {len(pictures)} readable pictures; heads learn from thousands, {LEAST} is the least")
    order = np.random.default_rng(seed).permutation(len(pictures))
    held, rest = np.sort(order[: len(order) // HELD]), np.sort(order[len(order) // HELD :])
    right = names.indices(pictures.folders)
    tower = loaded.tower_without_heads()
    chosen = _blocks(blocks, len(tower.blocks))
    pooled, embeddings = pooled_tokens(tower, chosen, pictures.images, progress)
    shared = Head((tower.projection,))
    table = Table(box=box.SIMPLE_HEAD, title=f"Heads of {loaded.name}, on {len(held)} pictures kept apart")
    for column in ("block", "shared", *HEADS):
        table.add_column(column, justify="right")
    heads = {}
    target = np.array(right) if right is not None else (embeddings @ bank.vectors.T).argmax(1)
    for k, done in enumerate(chosen):
        known = None if right is None else [right[i] for i in rest]
        learned = train(
            pooled[rest, k], embeddings[rest], known, bank.vectors, loaded.logit_scale, tower.activation, seed, progress
        )
        fitted, _ = ridge.fit(pooled[rest, k], embeddings[rest])
        scores = [
            _share_right(embed(head, pooled[held, k], tower.activation), bank, target[held]) for head in (shared, fitted, learned)
        ]
        table.add_row(str(done), *(f"{score * 100:.1f} %" for score in scores))
        heads[done] = fitted if kind == "fitted" else learned
    path = loaded.folder / files.FILE
    write_atomically(path, files.to_bytes(heads))
    word = "top-1" if right is not None else "the whole tower's answer"
    table.caption = f"{word}; a calibration made before no longer fits: convert calibrate"
    Console(highlight=False).print(table)
    print(path.resolve())


def _share_right(embeddings: NDArray[np.float32], bank: LabelBank, target: NDArray[np.int64]) -> float:
    return float(((embeddings @ bank.vectors.T).argmax(1) == target).mean())


def _blocks(text: str, count: int) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise UsageError(f"--exits should be numbers of blocks as in 4,6,8; found {text!r}") from error
    if not all(0 < block < count for block in found):
        raise UsageError(f"--exits lie between 1 and {count - 1}, found {text}")
    return found
