"""`convert ladder`: every step measured on one page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from calibration.samples import load, samples
from convert import fit, parity
from convert.calibrated import exits_of
from convert.commands.request import make_request
from convert.errors import CalibrationError
from convert.files import write_atomically
from convert.label_files import embed_labels
from convert.ladder import Trial, climb
from convert.progress import OnTerminal
from convert.report.ladder_page import render, table


def run(
    images: tuple[Path, ...],
    model: str | None,
    pretrained: str | None,
    labels: str | None,
    exits: str | None,
    count: int,
    out: Path,
    seed: int,
    models: Path | None,
) -> None:
    """`out` holds index.html and ladder.json; the table goes to standard output."""
    progress = OnTerminal()
    request = make_request("rpi", model, pretrained, images, labels, exits, "mse", "two_term", seed, None, models, progress)
    exits_chosen = exits_of(request)  # before any work: impossible ones are refused
    everything = load(samples(images), request.model.preprocessing)
    shares = fit.share_out(everything)
    held = shares.report.part(0, count)
    if len(everything) < 20:
        raise CalibrationError(f"--images holds {len(everything)} readable pictures; measuring the ladder needs at least 20")
    reference = parity.float_embeddings(request.model, held.images, progress)
    trial = Trial(
        request.model, embed_labels(request.labels, request.model), held, reference, request.labels.indices(held.folders)
    )
    rungs, factorial = climb(trial, shares, exits_chosen, seed, progress)
    data = {
        "model": request.model.name,
        "images": len(held),
        "ladder": [dataclasses.asdict(rung) for rung in rungs],
        "factorial": [dataclasses.asdict(rung) for rung in factorial],
    }
    write_atomically(out / "ladder.json", json.dumps(data, indent=1).encode())
    write_atomically(out / "index.html", render(data).encode())
    console = Console(highlight=False)
    console.width = max(console.width, 110)  # ten columns; a narrow terminal wraps them better than cells would
    console.print(table(data))
    print((out / "index.html").resolve())
