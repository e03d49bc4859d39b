"""`convert exits`: which token and which head read a block best, in float and in INT8."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from convert.calibrate.calibration import Calibration
from convert.calibrate.from_folder import FILE, FolderCalibration, stored_calibration
from convert.calibrate.from_images import ImageCalibration, read_shares
from convert.calibrate.images import Shares
from convert.calibrate.simulation import simulation_of
from convert.measure.head_factorial import HEADS, TOKENS, Cell, measure
from convert.model.labels import embed_labels
from convert.options import BuildOptions
from convert.request import Request, make_request
from convert.support.console import Terminal, say
from convert.support.errors import UsageError
from convert.support.files import check_target, write_atomically
from convert.support.progress import OnTerminal, Progress


def exits(options: BuildOptions, count: int, out: Path) -> None:
    """`out` holds the table as JSON, and it is shown: a row per block, a column per token, head and arithmetic."""
    check_target(out)
    progress = OnTerminal()
    request = make_request(options, progress)
    shares = read_shares(request, progress)
    asked = shares.report.part(0, count)
    right = request.labels.indices(asked.folders)
    if right is None:
        raise UsageError("which head reads a block best needs the right labels: give --labels with `id TAB names` a line")
    simulation = simulation_of(request, _calibration(request, shares, progress))
    bank = embed_labels(request.labels, request.model)
    cells = measure(simulation, shares.gates.images, asked.images, np.array(right, np.int64), bank, progress)
    data = {
        "model": request.model.name,
        "images": len(asked),
        "learned": len(shares.gates),
        "cells": [dataclasses.asdict(cell) for cell in cells],
    }
    write_atomically(out, json.dumps(data).encode())
    Terminal().print(_table(cells, len(asked)))
    say(out.resolve())


def _calibration(request: Request, shares: Shares, progress: Progress) -> Calibration:
    """The model folder's calibration where it has one, else one on the images."""
    if request.model.folder is not None and (request.model.folder / FILE).is_file():
        return FolderCalibration(request, stored_calibration(request), progress)
    return ImageCalibration(request, shares, progress)


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
