"""`convert exits`: which token and which head read a block best, in float and in INT8."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from convert.calibrate import images as fit
from convert.calibrate.calibration import prepare_simulation
from convert.commands.request import make_request
from convert.measure.head_factorial import HEADS, TOKENS, Cell, measure
from convert.model.labels import embed_labels, named_places
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.images import load_pictures
from convert.support.progress import OnTerminal


def run(
    images: tuple[Path, ...],
    model: str | None,
    pretrained: str | None,
    labels: str | None,
    count: int,
    out: Path,
    seed: int,
    models: Path | None,
) -> None:
    """`out` holds the table as JSON, and it is shown: a row per block, a column per token, head and arithmetic."""
    progress = OnTerminal()
    request = make_request("rpi", model, pretrained, images, labels, None, None, None, seed, None, models, progress)
    everything = load_pictures(images, request.model.preprocessing, progress)
    shares = fit.share_out(everything, named_places(request.labels, everything.folders, progress))
    asked = shares.report.part(0, count)
    right = request.labels.indices(asked.folders)
    if right is None:
        raise UsageError("which head reads a block best needs the right labels: give --labels with `id TAB names` a line")
    known = request.model.folder is not None and (request.model.folder / "calibration.npz").is_file()
    stages, grids, codes = prepare_simulation(request, None if known else everything, progress)
    bank = embed_labels(request.labels, request.model)
    wanted = np.array(right, np.int64)
    cells = measure(stages, grids, request.recipe.stream, codes, shares.gates.images, asked.images, wanted, bank, progress)
    data = {
        "model": request.model.name,
        "images": len(asked),
        "learned": len(shares.gates),
        "cells": [dataclasses.asdict(c) for c in cells],
    }
    write_atomically(out, json.dumps(data).encode())
    Console(highlight=False).print(_table(cells, len(asked)))
    print(out.resolve())


def _table(cells: list[Cell], images: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"top-1 at every block, on {images} held-apart images")
    table.add_column("block", justify="right")
    columns = [(token, head, arithmetic) for token in TOKENS for head in HEADS for arithmetic in ("float", "INT8")]
    for column in columns:
        table.add_column("\n".join(column), justify="right")
    found = {(c.block, c.token, c.head, c.arithmetic): c.accuracy for c in cells}
    for block in sorted({c.block for c in cells}):
        table.add_row(str(block), *(f"{found[(block, *column)] * 100:.1f}" for column in columns))
    return table
