"""`convert culprit`: a chart of the noise that each class of tensors and each block adds alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from calibration.samples import pixels
from convert.calibrate import images as fit
from convert.calibrate.calibration import prepare_simulation
from convert.commands.request import make_request
from convert.measure.culprit import Culprits, measure
from convert.report.plots import share_plot
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.images import load_pictures
from convert.support.progress import OnTerminal

BATCH = 32


def run(
    images: tuple[Path, ...],
    model: str | None,
    pretrained: str | None,
    exits: str | None,
    stream: str | None,
    observer: str | None,
    count: int,
    out: Path,
    seed: int,
    models: Path | None,
) -> None:
    """`out` holds culprit.svg and culprit.json; the table goes to standard output."""
    progress = OnTerminal()
    request = make_request("rpi", model, pretrained, images, "any", exits, observer, stream, seed, None, models, progress)
    sources = images or (() if request.photographs is None else (request.photographs,))
    found = load_pictures(sources, request.model.preprocessing, progress)
    if not len(found):
        raise UsageError("no readable pictures to measure on; give some with --images FOLDER|TAR")
    stages, grids, codes = prepare_simulation(request, found if images else None, progress)
    chosen = (fit.share_out(found).report if images else found).images[:count]
    batches = [torch.from_numpy(pixels(chosen[start : start + BATCH])) for start in range(0, len(chosen), BATCH)]
    result = measure(stages, grids, batches, progress, codes)
    write_atomically(out / "culprit.json", json.dumps({"images": len(chosen), **dataclasses.asdict(result)}, indent=1).encode())
    write_atomically(out / "culprit.svg", share_plot(result.classes, result.blocks, result.everything).encode())
    Console(highlight=False).print(_table(result, len(chosen)))
    print((out / "culprit.svg").resolve())


def _table(result: Culprits, images: int) -> Table:
    table = Table(title=f"1 - cosine with float x 1000, on {images} images; everything quantized: {result.everything * 1e3:.2f}")
    for column, side in (("class or block", "left"), ("alone", "right"), ("all but it", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for shares in (result.classes, result.blocks):
        for share in shares:
            table.add_row(share.name, f"{share.alone * 1e3:.3f}", f"{share.without * 1e3:.2f}")
        table.add_section()
    return table
