"""Plots of the evidence, as SVG text for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convert.measure.curves import Point
from convert.report.svg import ACCENT, INK, MAIN, inline_svg, style

DASHED = (0, (4, 3))
COLOURS = {  # of Okabe and Ito's palette
    "always": "#999999",
    "confidence": "#56b4e9",
    "class-based": "#009e73",
    "patience": "#cc79a7",
    "lct": MAIN,
}


def pareto(
    curves: Mapping[str, Sequence[Point]],
    exits: Sequence[Point],
    blocks: Sequence[int],
    taken: Point | None,
    float_accuracy: float | None,
    by: str = "share",
    float_ms: float | None = None,
) -> str:
    """Accuracy over the mean cost of an image, `by` share of MACs or milliseconds; every exit alone in grey, the file's policy marked.

    By milliseconds float is a point where its time is known, else a line, as it has no time here.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(6.2, 3.8), layout="constrained")
        axes = figure.subplots()
        factor = 100.0 if by == "share" else 1.0

        def places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
            return [getattr(p, by) * factor for p in points], [p.accuracy * 100 for p in points]

        axes.plot(*places(exits), "o--", color=COLOURS["always"], markersize=4, linewidth=0.8, label="one exit for all")
        for x, y, block in zip(*places(exits), blocks, strict=True):
            axes.annotate(str(block), (x, y), (4, -10), textcoords="offset points", fontsize=8, color=INK)
        for name, points in curves.items():
            if name not in ("never", "always"):
                line = {"marker": "s", "linestyle": "none"} if name == "patience" else {"linewidth": 1.2}
                axes.plot(*places(points), color=COLOURS.get(name, INK), markersize=4, label=name, **line)
        if float_accuracy is not None and float_ms is not None and by == "ms":
            axes.plot([float_ms], [float_accuracy * 100], "^", color=INK, markersize=7, label="float, full depth, PyTorch")
        elif float_accuracy is not None:
            height = float_accuracy * 100
            axes.axhline(height, color=INK, linewidth=0.7, linestyle=DASHED)
            at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate("float, full depth", (0.01, height), (0, 3), fontsize=8, **at)
        if taken is not None:
            axes.plot(*places([taken]), "D", color=ACCENT, markersize=7, label="this file's policy")
        cost = "mean cost, % of full depth's multiply–accumulates" if by == "share" else "mean milliseconds on this machine"
        axes.set(xlabel=cost, ylabel="right answers, %")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        return inline_svg(figure, f"pareto-{by}", f"Accuracy over cost by {by} for every policy")


def reliability_plot(gates: Sequence[Mapping[str, Any]], blocks: Sequence[int]) -> str:
    """What each gate says the chance is that stopping is as good, against how often it was."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(4.7, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, linestyle=DASHED)
        shades = [MAIN, ACCENT, "#009e73", "#cc79a7", "#56b4e9", "#999999"]
        for gate, block, colour in zip(gates, blocks, shades * len(gates), strict=False):
            name = f"block {block}, ECE {gate['ece']:.3f}"
            axes.plot(gate["chance"], gate["share"], "o-", color=colour, markersize=4, linewidth=1, label=name)
        axes.set(xlabel="chance that the gate states", ylabel="share for which it was so", xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False, fontsize=8)
        return inline_svg(figure, "reliability", "Reliability of the gates")
