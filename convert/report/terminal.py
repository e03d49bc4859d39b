"""The summary that stands on the terminal after a build: what a reader asks for first, in 80 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from convert.report import formats
from convert.report.figures import Figures, full_macs, headline, measured_here
from tflite_runtime_app.escaping.terminal import escaped

COLUMNS = ("", "top-1", "95 %", "agrees", "cosine", "MMACs", "leaving")


def summary_table(data: dict[str, Any]) -> Table:
    """Float, integer at full depth, integer with exits, then every stage alone. Blank where nothing was measured."""
    title = f"{data['model']['name']} for {data['target']['name']}, {formats.megabytes(data['flatbuffer_bytes'])}"
    found = headline(data)
    table = Table(title=Text(escaped(title), "bold"), box=box.SIMPLE_HEAD, padding=(0, 1), caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    table.caption = Text("\n".join(map(escaped, _notes(data, found))))
    if found is None:
        table.add_row("INT8, full depth", "", "", "", "", formats.mega(full_macs(data)), "")
        return table
    values, n = found.values, found.images

    def row(
        name: str, top1: float | None, agreement: float | None, cosine: float | None, macs: float | None, share: float | None
    ) -> None:
        cells = (
            _percent(top1),
            formats.bounds(top1, n),
            _percent(agreement),
            "" if cosine is None else formats.cosine(cosine),
        )
        table.add_row(name, *cells, "" if macs is None else formats.mega(macs), _percent(share))

    row("float (open_clip)", values["top1_float"], None, None, None, None)  # it computes rows that the file leaves out
    row("INT8, full depth", values["top1_int8"], values["agreement"], values["cosine_mean"], values["full_macs"], None)
    row("INT8, with exits", values["top1_exits"], values["agreement_exits"], None, values["mean_macs"], None)
    table.add_section()
    for stage in values["exits"]:
        name = f"at block {stage['blocks_done']}"
        row(name, stage["top1"], stage["agreement"], stage["cosine"], stage["macs"], stage["share"])
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else formats.percent(share)


def _notes(data: dict[str, Any], shown: Figures | None) -> list[str]:
    """What must be known to read the table right, a line each."""
    if shown is None:
        return ["Not measured: there were no images to measure on."]
    less = "fewer" if shown.saving >= 0 else "more"
    notes = [
        f"Measured on {shown.where}.",
        f"Exits: {formats.percent(abs(shown.saving))} {less} MACs on average than full depth.",
    ]
    if shown.values["top1_int8"] is None:
        notes.append("top-1: not measured, the labels of these images are not known.")
    here = measured_here(data)
    if here and here.few:
        agrees = f"{round(here.values['agreement'] * here.images)} of {here.images}"
        notes.append(f"This file itself ran on {here.images} images only ({agrees} as in float): that shows it works, no more.")
    if data["noise"]:
        notes.append(f"Noise to signal after the last block: {formats.percent(data['noise']['nsr'][-1])}.")
    return notes
