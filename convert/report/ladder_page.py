"""The ladder's page: the curve of noise over blocks for every rung, and the tables of ladder and factorial."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.table import Table

from convert.report.template import page

FELL = " ↓"
CAPTION = f"{FELL.strip()} less near to float than the step before; below the steps, the whole ladder without each such rewrite"
COLUMNS = ("step", "ranges", "stream", "NSR last block", "cosine", "5th pct", "agrees", "top-1", "MB", "ms")


def fell(before: float, now: float) -> bool:
    """Whether a mean cosine is lower than the one before, in the digits that are shown."""
    return round(now, 4) < round(before, 4)


def rows(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rungs that were climbed one after the other, as rows; a cosine that fell is marked."""
    fallen = [False, *(fell(one["cosine_mean"], other["cosine_mean"]) for one, other in pairwise(rungs))]
    return [cells(rung, FELL if marked else "") for rung, marked in zip(rungs, fallen, strict=True)]


def cells(rung: dict[str, Any], mark: str = "") -> tuple[str, ...]:
    """One rung as the texts of its row, the mark behind its cosine."""
    top1 = "-" if rung["top1"] is None else f"{rung['top1'] * 100:.1f} %"
    return (
        rung["name"],
        rung["observer"],
        rung["stream"],
        f"{rung['nsr'][-1] * 100:.1f} %",
        f"{rung['cosine_mean']:.4f}{mark}",
        f"{rung['cosine_p5']:.4f}",
        f"{rung['agreement'] * 100:.1f} %",
        top1,
        f"{rung['megabytes']:.1f}",
        f"{rung['ms']:.1f}",
    )


def table(data: dict[str, Any]) -> Table:
    """Ladder, steps left out and factorial for the terminal."""
    shown = Table(title=f"{data['model']} on {data['images']} held-apart images", caption=CAPTION)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in COLUMNS[:3] else "right")
    for part in (rows(data["ladder"]), *([cells(rung) for rung in data[name]] for name in ("left_out", "factorial"))):
        for row in part:
            shown.add_row(*row)
        shown.add_section()
    return shown


def render(data: dict[str, Any]) -> str:
    """The page, self-contained."""
    from markupsafe import Markup

    return page(
        "ladder",
        data=data,
        float_top1=data["ladder"][0]["top1_float"],
        columns=COLUMNS,
        ladder=rows(data["ladder"]),
        left_out=[cells(rung) for rung in data["left_out"]],
        caption=CAPTION,
        factorial=[cells(rung) for rung in data["factorial"]],
        curve=Markup(curve(data["ladder"])),
    )


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
