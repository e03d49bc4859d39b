"""The report's plots, each from plain numbers to SVG text. Small on purpose: they are read at a phone's width too."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any

from convert.report.svg import ACCENT, INK, MAIN, PAPER, inline_svg, style

SIZE = (4.7, 2.8)  # inches, at 10 point text
MOST_LABELS = 13
BLUE = "#0072b2"  # of Okabe and Ito's palette; a file of its own has no page to take colours from
DASHED = (0, (4, 3))


def noise_plot(nsr: Sequence[float], exits: Sequence[int]) -> str:
    """Bars of the noise-to-signal ratio in percent after every block, those with an exit behind them in the accent colour."""
    with style():
        figure, axes = _axes()
        blocks, percents = range(1, len(nsr) + 1), [value * 100 for value in nsr]
        bars = axes.bar(blocks, percents, color=[ACCENT if block in exits else MAIN for block in blocks], width=0.72)
        if len(nsr) <= MOST_LABELS:
            axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=9)
        step = -(-len(nsr) // MOST_LABELS)
        axes.set_xticks(blocks[step - 1 :: step])
        axes.set(
            xlabel="after block", ylabel="noise to signal, %", xlim=(0.3, len(nsr) + 0.7), ylim=(0, 1.28 * max(percents) or 1)
        )
        if exits:
            _legend(axes, ((MAIN, "block"), (ACCENT, "block with an exit behind it")))
        return inline_svg(figure, "noise", "Noise-to-signal ratio after each block, in percent")


def exits_plot(blocks: Sequence[int], shares: Sequence[float], macs: Sequence[float], mean: float) -> str:
    """Bars of the share of images leaving at each stage, placed at what an image has cost when it leaves there, mean marked."""
    with style():
        figure, axes = _axes()
        places, percents = [value / 1e6 for value in macs], [share * 100 for share in shares]
        width = 0.55 * min(0.25 * places[-1], *(b - a for a, b in itertools.pairwise((0.0, *places))))
        many = len(places) > 6
        axes.axvline(mean / 1e6, color=INK, linewidth=0.8, linestyle=DASHED, zorder=0)
        bars = axes.bar(places, percents, width=width, color=[ACCENT] * (len(places) - 1) + [MAIN])
        texts = [f"{p:.0f}" if many else f"{p:.1f} %" for p in percents]
        axes.bar_label(bars, texts, padding=3, fontsize=8 if many else 10, bbox=_BEHIND_TEXT)
        axes.set_xticks(places, [f"{b}" if many else f"{p:.0f}\n({b})" for b, p in zip(blocks, places, strict=True)])
        axes.set(
            xlabel="blocks done, at the multiply–accumulates spent until there"
            if many
            else "million multiply–accumulates until there (blocks done)",
            ylabel="images leaving, %",
            xlim=(0, places[-1] + width),
            ylim=(0, 1.35 * max(percents)),
        )
        axes.yaxis.set_ticks([tick for tick in axes.get_yticks() if tick <= 100])
        _mark(axes, mean / 1e6, 1.0, f"mean {mean / 1e6:.0f}", left=mean / 1e6 > places[-1] / 2)
        return inline_svg(
            figure, "exits", "Share of images leaving at each stage, over the multiply-accumulates spent until there"
        )


def cosine_plot(cosines: Sequence[float], mean: float, p5: float) -> str:
    """Histogram of the cosine between integer and float embeddings, one per image, with mean and 5th percentile marked."""
    with style():
        figure, axes = _axes()
        start = min(0.98, min(cosines) - 0.005)
        axes.locator_params(axis="x", nbins=5)
        axes.hist(cosines, bins=min(40, max(8, len(cosines))), range=(start, 1.0), color=MAIN)
        middle = (start + 1) / 2
        axes.axvline(mean, color=ACCENT, linewidth=1.3)
        axes.axvline(p5, ymax=0.84, color=ACCENT, linewidth=1.3, linestyle=DASHED)
        _mark(axes, mean, 1.0, f"mean {mean:.3f}", left=mean > middle)
        _mark(axes, p5, 0.86, f"5th percentile {p5:.3f}", left=p5 > middle)
        axes.set(
            xlabel="cosine between integer and float embedding",
            ylabel="images",
            xlim=(start, 1.0),
            ylim=(0, 1.3 * axes.dataLim.y1),
        )
        axes.yaxis.get_major_locator().set_params(integer=True)
        return inline_svg(figure, "cosine", "Histogram of the cosine between integer and float embeddings")


_BEHIND_TEXT = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}


def _axes() -> tuple[Any, Any]:
    """A figure of its own with one pair of axes; none of pyplot's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.add_subplot()


def _mark(axes: Any, x: float, height: float, text: str, left: bool) -> None:
    """Text beside a vertical line at x, its top at a share of the axes' height."""
    axes.annotate(
        text,
        (x, height),
        (-5 if left else 5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        bbox=_BEHIND_TEXT,
    )


def _legend(axes: Any, entries: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=text) for color, text in entries]
    axes.legend(handles=handles, loc="upper left", ncols=len(handles), frameon=False, handlelength=1.0, borderaxespad=0.0)


def share_plot(classes: Sequence[Any], blocks: Sequence[Any], everything: float) -> str:
    """Bars of the noise that each class of tensors and each block adds when it alone is quantized; `name` and `alone` of each are read."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.28 * max(len(classes), len(blocks)) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, shares, title in ((left, classes, "by class of tensors"), (right, blocks, "by block")):
        axes.barh([share.name for share in shares], [share.alone * 1e3 for share in shares], color=BLUE)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="(1 - cosine with float) x 1000, quantized alone")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"everything quantized: {everything * 1e3:.2f}")
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()
