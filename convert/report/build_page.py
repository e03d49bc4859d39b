"""The report as one HTML page that needs nothing else: no network, no script, plots and style inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.measure.curves import Point
from convert.report import evaluation_page, formats, ladder_page, plots
from convert.report.exit_plots import pareto, reliability_plot
from convert.report.figures import Figures, full_macs, headline, measured_here, recorded
from convert.report.template import page

SHARES = (
    ("top1_float", "Accuracy, float"),
    ("top1_int8", "Accuracy, INT8 at full depth"),
    ("top1_exits", "Accuracy, INT8 with exits"),
    ("agreement", "Agreement, full depth"),
    ("agreement_exits", "Agreement, with exits"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure: what it is, the figure, and what to know about it."""

    title: str
    value: str
    note: str


def render(data: dict[str, Any], bundle: Path) -> str:
    """The page for a build's data; `bundle` is named on it."""
    from markupsafe import Markup

    shown, here = headline(data), measured_here(data)
    leaving = data["exits"].get("leaving")
    return page(
        "build",
        data=data,
        bundle=bundle.name,
        shown=shown,
        here=here,
        recorded=recorded(data),
        shares=SHARES,
        accuracy=_accuracy(shown),
        tiles=_tiles(data, shown),
        plots={**_plots(data, shown, here), **_exit_plots(data)},
        leaving=leaving,
        quadrant_head=evaluation_page.QUADRANTS,
        quadrant_rows=evaluation_page.quadrant_rows(leaving) if leaving and leaving["quadrants"] else [],
        stages=_stages(data, shown, here),
        step_columns=ladder_page.COLUMNS,
        step_rows=ladder_page.rows(data["steps"]["ladder"]) if data["steps"] else [],
        steps_curve=Markup(ladder_page.curve(data["steps"]["ladder"])) if data["steps"] else "",
    )


def _accuracy(shown: Figures | None) -> list[Tile]:
    if shown is None or shown.values["top1_int8"] is None:
        return []
    names = ("float", "INT8, full depth", "INT8, with exits")
    shares = [shown.values[key] for key, _ in SHARES[:3]]
    return [
        Tile(name, formats.percent(share), formats.interval(share, shown.images))
        for name, share in zip(names, shares, strict=True)
    ]


def _tiles(data: dict[str, Any], shown: Figures | None) -> list[Tile]:
    tiles = [
        Tile("File size", formats.megabytes(data["flatbuffer_bytes"]), "all stages in one .tflite, without labels"),
        Tile("MACs, full depth", f"{formats.mega(full_macs(data))}{formats.SPACE}M", "multiply–accumulates for one image"),
    ]
    if shown is None:
        return [
            *tiles,
            *(Tile(t, formats.MISSING, "") for t in ("MACs, mean with exits", "Agreement with float", "Cosine, mean")),
        ]
    values = shown.values
    less = "fewer" if shown.saving >= 0 else "more"
    return [
        *tiles,
        Tile(
            "MACs, mean with exits",
            f"{formats.mega(values['mean_macs'])}{formats.SPACE}M",
            f"{formats.percent(abs(shown.saving))} {less} than full depth",
        ),
        Tile("Agreement with float", formats.percent(values["agreement"]), formats.interval(values["agreement"], shown.images)),
        Tile("Cosine, mean", formats.cosine(values["cosine_mean"]), f"5th percentile {formats.cosine(values['cosine_p5'])}"),
    ]


def _plots(data: dict[str, Any], shown: Figures | None, here: Figures | None) -> dict[str, str]:
    """The plots that there are numbers for, by name."""
    found = {}
    if data["noise"]:
        found["noise"] = plots.noise_plot(data["noise"]["nsr"], _exit_blocks(data))
    if shown:
        rows = shown.values["exits"]
        blocks, shares, macs = ([row[key] for row in rows] for key in ("blocks_done", "share", "macs"))
        found["exits"] = plots.exits_plot(blocks, shares, macs, shown.values["mean_macs"])
    if here and here.values["cosines"]:
        found["cosine"] = plots.cosine_plot(here.values["cosines"], here.values["cosine_mean"], here.values["cosine_p5"])
    return found


def _exit_plots(data: dict[str, Any]) -> dict[str, str]:
    """How policies compare, and how honest the gates are, where that was measured."""
    found, leaving, gates = {}, data["exits"].get("leaving"), data["exits"].get("gates")
    if leaving:
        curves = {name: [Point(**p) for p in points] for name, points in leaving["curves"].items()}
        exact = leaving["float_exits"][-1]["accuracy"] if leaving["labelled"] else None
        exits, taken = [Point(**p) for p in leaving["exits"]], Point(**leaving["taken"])
        found["pareto"] = pareto(curves, exits, leaving["blocks"], taken, exact)
    if gates:
        found["reliability"] = reliability_plot(gates["exits"], _exit_blocks(data))
    return found


def _exit_blocks(data: dict[str, Any]) -> list[int]:
    return [stage["blocks_done"] for stage in data["stages"][:-1]]


def _stages(data: dict[str, Any], shown: Figures | None, here: Figures | None) -> list[dict[str, Any]]:
    """A row per stage: what it consists of, how good its embedding is, who leaves there; the time is always this machine's."""
    rows = []
    for number, stage in enumerate(data["stages"]):
        measured = shown.values["exits"][number] if shown else dict.fromkeys(("cosine", "agreement", "top1", "share"))
        rows.append({**stage, **{key: measured[key] for key in ("cosine", "agreement", "top1", "share")}})
        rows[-1]["ms"] = here.values["exits"][number]["ms"] if here else None
        rows[-1]["until"] = sum(int(s["macs"]) for s in data["stages"][: number + 1])
    return rows
