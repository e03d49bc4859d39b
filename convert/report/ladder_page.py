"""The ladder's page: the curve of noise over blocks for every rung, and the tables of ladder and factorial."""

from __future__ import annotations

import html
import io
from typing import Any

from rich.table import Table

COLUMNS = ("step", "ranges", "stream", "NSR last block", "cosine", "5th pct", "agrees", "top-1", "MB", "ms")

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }} td, th {{ padding: .25rem .7rem; text-align: right;
border-bottom: 1px solid #8884 }} td:first-child, th:first-child {{ text-align: left }} .wide {{ overflow-x: auto }}
svg {{ max-width: 100%; height: auto; background: #fff }}
</style><h1>{title}</h1>
<p>Every file was run on the same {images} images, to which nothing was fitted. Float top-1: {float_top1}. NSR is the noise-to-signal ratio
of the residual stream, sqrt(sum |integer - float|² / sum |float|²), both centred over channels, on the first images of them.
Milliseconds are medians on the machine that made this page.</p>
<h2>Step by step</h2>{curve}<div class="wide">{ladder}</div>
{factorial}</html>
"""

_FACTORIAL = '<h2>Rotation, ranges and stream</h2><div class="wide">{rows}</div>'


def cells(rung: dict[str, Any]) -> tuple[str, ...]:
    """One rung as the texts of its row."""
    top1 = "-" if rung["top1"] is None else f"{rung['top1'] * 100:.1f} %"
    return (
        rung["name"],
        rung["observer"],
        rung["stream"],
        f"{rung['nsr'][-1] * 100:.1f} %",
        f"{rung['cosine_mean']:.4f}",
        f"{rung['cosine_p5']:.4f}",
        f"{rung['agreement'] * 100:.1f} %",
        top1,
        f"{rung['megabytes']:.1f}",
        f"{rung['ms']:.1f}",
    )


def table(data: dict[str, Any]) -> Table:
    """Ladder and factorial for the terminal."""
    shown = Table(title=f"{data['model']} on {data['images']} held-apart images")
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in COLUMNS[:3] else "right")
    for part in ("ladder", "factorial"):
        for rung in data[part]:
            shown.add_row(*cells(rung))
        shown.add_section()
    return shown


def render(data: dict[str, Any]) -> str:
    """The page, self-contained."""
    float_top1 = data["ladder"][0]["top1_float"]
    return _PAGE.format(
        title=f"{html.escape(data['model'])}: the ladder",
        images=data["images"],
        float_top1="not known" if float_top1 is None else f"{float_top1 * 100:.1f} %",
        curve=curve(data["ladder"]),
        ladder=_rows(data["ladder"]),
        factorial=_FACTORIAL.format(rows=_rows(data["factorial"])) if data["factorial"] else "",
    )


def _rows(rungs: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(rung)) + "</tr>" for rung in rungs)
    return f"<table><tr>{head}</tr>{body}</table>"


def curve(rungs: list[dict[str, Any]]) -> str:
    """NSR over blocks, one line a rung, from light to dark as the ladder rises."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for position, rung in enumerate(rungs):
        colour = colormaps["viridis_r"](0.1 + 0.9 * position / max(len(rungs) - 1, 1))
        axes.plot(
            range(1, len(rung["nsr"]) + 1),
            [value * 100 for value in rung["nsr"]],
            marker="o",
            ms=3,
            color=colour,
            label=rung["name"],
        )
    axes.set(xlabel="after block", ylabel="noise to signal, %", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
