"""`convert culprit`: a chart of the noise that each class of tensors and each block adds alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.table import Table

from convert.calibrate.calibration import calibration_of
from convert.calibrate.simulation import simulation_of
from convert.measure.culprit import Culprits, measure
from convert.options import BuildOptions
from convert.report.plots import share_plot
from convert.request import make_request
from convert.stages.run import batches
from convert.support.console import Terminal, say
from convert.support.errors import UsageError
from convert.support.files import check_target, write_atomically
from convert.support.progress import OnTerminal


def culprit(options: BuildOptions, count: int, out: Path) -> None:
    """`out` holds culprit.svg and culprit.json; the table goes to standard output."""
    check_target(out / "culprit.json")
    progress = OnTerminal()
    request = make_request(dataclasses.replace(options, labels="any"), progress)
    calibration = calibration_of(request, progress)
    images = calibration.reported
    if images is None or not len(images):
        raise UsageError("no readable images to measure on; give some with --images FOLDER|ARCHIVE")
    chosen = list(batches(images.images[:count]))
    simulation = simulation_of(request, calibration)
    result = measure(simulation.stages, simulation.grids, chosen, progress, simulation.codes)
    used = min(count, len(images))
    write_atomically(out / "culprit.json", json.dumps({"images": used, **dataclasses.asdict(result)}, indent=1).encode())
    write_atomically(out / "culprit.svg", share_plot(result.classes, result.blocks, result.everything).encode())
    Terminal().print(_table(result, used))
    say((out / "culprit.svg").resolve())


def _table(result: Culprits, images: int) -> Table:
    table = Table(title=f"1 - cosine with float x 1000, on {images} images; everything quantized: {result.everything * 1e3:.2f}")
    for column, side in (("class or block", "left"), ("alone", "right"), ("all but it", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for shares in (result.classes, result.blocks):
        for share in shares:
            table.add_row(share.name, f"{share.alone * 1e3:.3f}", f"{share.without * 1e3:.2f}")
        table.add_section()
    return table
