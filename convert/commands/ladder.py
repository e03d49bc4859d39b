"""`convert ladder`: every step measured on one page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from convert.calibrate.images import share_out
from convert.ladder import Trial, climb
from convert.measure import parity
from convert.model.labels import embed_labels, named_places
from convert.options import BuildOptions
from convert.report.build_report import LADDER_FILE
from convert.report.ladder_page import render, table
from convert.request import make_request
from convert.support.console import Terminal, say
from convert.support.errors import CalibrationError, UsageError
from convert.support.files import check_target, write_atomically
from convert.support.images import load_images
from convert.support.progress import OnTerminal

FEWEST = 20  # images


def ladder(options: BuildOptions, count: int, out: Path, factorial: bool, keep: bool) -> None:
    """`out` holds index.html and ladder.json; the table goes to standard output. With `keep` the model's folder has the figures too."""
    check_target(out / "index.html")
    progress = OnTerminal()
    request = make_request(options, progress)
    model = request.model
    if keep and model.folder is None:
        raise UsageError(f"--keep: {model.name} is not a model folder; name one with --model DIR")
    everything = load_images(request.images, model.preprocessing, progress)
    shares = share_out(everything, request.seed, named_places(request.labels, everything.folders, progress))
    if len(everything.distinct()) < FEWEST:
        raise CalibrationError(
            f"--images holds {len(everything.distinct())} distinct readable images; measuring the ladder needs at least {FEWEST}"
        )
    held = shares.report.part(0, count)
    reference = parity.float_embeddings(model, held.images, progress)
    bank = embed_labels(request.labels, model)
    trial = Trial(model, bank, request.exits, held, reference, request.labels.indices(held.folders))
    found = climb(trial, shares, request.seed, factorial, progress)
    data = {
        "model": model.name,
        "space_id": model.space_id,
        "images": len(held),
        **dataclasses.asdict(found),
    }
    figures = json.dumps(data, indent=1).encode()
    write_atomically(out / LADDER_FILE, figures)
    if keep and model.folder is not None:
        write_atomically(model.folder / LADDER_FILE, figures)
    write_atomically(out / "index.html", render(data).encode())
    console = Terminal()
    console.width = max(console.width, 110)  # ten columns; a narrow terminal wraps them better than cells would
    console.print(table(data))
    say((out / "index.html").resolve())
