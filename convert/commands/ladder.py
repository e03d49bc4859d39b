"""`convert ladder`: every step measured on one page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from convert.calibrate import images as fit
from convert.calibrate.calibration import exits_of
from convert.commands.request import make_request
from convert.ladder import Trial, climb
from convert.measure import parity
from convert.model.labels import embed_labels, named_places
from convert.report.data import LADDER_FILE
from convert.report.ladder_page import render, table
from convert.support.errors import CalibrationError, UsageError
from convert.support.files import write_atomically
from convert.support.images import load_pictures
from convert.support.progress import OnTerminal


def run(
    images: tuple[Path, ...],
    model: str | None,
    pretrained: str | None,
    labels: str | None,
    exits: str | None,
    count: int,
    out: Path,
    factorial: bool,
    keep: bool,
    seed: int,
    models: Path | None,
) -> None:
    """`out` holds index.html and ladder.json; the table goes to standard output. With `keep` the model's folder has the figures too."""
    progress = OnTerminal()
    request = make_request("rpi", model, pretrained, images, labels, exits, None, None, seed, None, models, progress)
    exits_chosen = exits_of(request)  # before any work: impossible ones are refused
    if keep and request.model.folder is None:
        raise UsageError(f"--keep: {request.model.name} is not a model folder; name one with --model DIR")
    everything = load_pictures(images, request.model.preprocessing, progress)
    shares = fit.share_out(everything, named_places(request.labels, everything.folders, progress))
    held = shares.report.part(0, count)
    if len(everything) < 20:
        raise CalibrationError(f"--images holds {len(everything)} readable pictures; measuring the ladder needs at least 20")
    reference = parity.float_embeddings(request.model, held.images, progress)
    trial = Trial(
        request.model, embed_labels(request.labels, request.model), held, reference, request.labels.indices(held.folders)
    )
    rungs, others = climb(trial, shares, exits_chosen, seed, factorial, progress)
    data = {
        "model": request.model.name,
        "space_id": request.model.space_id,
        "images": len(held),
        "ladder": [dataclasses.asdict(rung) for rung in rungs],
        "factorial": [dataclasses.asdict(rung) for rung in others],
    }
    figures = json.dumps(data, indent=1).encode()
    write_atomically(out / LADDER_FILE, figures)
    if keep and request.model.folder is not None:
        write_atomically(request.model.folder / LADDER_FILE, figures)
    write_atomically(out / "index.html", render(data).encode())
    console = Console(highlight=False)
    console.width = max(console.width, 110)  # ten columns; a narrow terminal wraps them better than cells would
    console.print(table(data))
    print((out / "index.html").resolve())
