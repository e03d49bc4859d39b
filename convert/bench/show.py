"""A bench's figures for people: a table for the terminal, a chart for a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from convert.bench.bars import DECISIONS, FLOOR, TOWER, Verdict
from convert.bench.gain import gain
from convert.bench.huge_pages import VALUE, VARIABLE
from convert.bench.measure import Line, Result
from convert.report import formats
from convert.report.plots import BLUE
from tflite_runtime_app.escaping.terminal import escaped

NAMES = {
    TOWER: "INT8, this file",
    FLOOR: "floor: all products",
    DECISIONS: "exit decisions, 1,000 labels",
}
ORANGE, GREY = "#d55e00", "#999999"
DIGITS = 3


def table(result: Result) -> Table:
    """Medians and 90th percentiles of everything that was timed."""
    shown = Table(title=Text(escaped(_heading(result)), "bold"), box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("", "p50 ms", "p90 ms", "x INT8", "cosine", "MB"):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    tower = result.lines[0]
    _row(shown, tower, tower, NAMES[TOWER])
    for stage in result.stages:
        _row(shown, stage, tower, f"  {stage.name}, {stage.what}")
    shown.add_section()
    for line in result.lines[1:]:
        _row(shown, line, tower, NAMES.get(line.name, line.name))
    return shown


def notes(result: Result) -> list[str]:
    """What stands under the table, a line each: what a user gains, ratios, cold start, what the peers are, and how the bars stand."""
    cold, pages = result.cold, "all in huge pages" if result.huge_pages else "without huge pages"
    clock = "processor time" if result.threads == 1 else "wall time"
    lines = [
        *gain(result.lines),
        f"{result.runs} runs each, in turn in one process, {clock}, {pages} ({VARIABLE}={VALUE})."
        f" INT8 takes {result.ratio:.2f} times its floor.",
        f"classify, cold: {cold.seconds:.2f} s to the first answer, {cold.import_seconds:.2f} s of it Python and imports;"
        f" peak memory {formats.megabytes(cold.peak_bytes)}, {formats.megabytes(cold.growth_bytes)} of it above the imports.",
    ]
    if result.lines[0].cosine_mean is not None:
        lines.append(f"cosine: with open_clip in float32, mean over {result.images} images.")
    lines += [f"{line.name}: {line.what}" for line in result.lines if line.name not in NAMES]
    return lines + verdict_lines(result.verdicts)


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """How the bars stand; those that were not judged share a line where they share the reason."""
    lines = [f"bar {'kept' if v.kept else 'MISSED'}: {v.text}" for v in verdicts if v.kept is not None]
    for why in dict.fromkeys(v.why for v in verdicts if v.kept is None):
        lines.append(f"not judged ({why}): {', '.join(v.text for v in verdicts if v.kept is None and v.why == why)}")
    return lines


def chart(result: Result) -> str:
    """Bars of the medians with a mark at each 90th percentile, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.42 * len(result.lines) + 1.5), layout="constrained")
    axes = figure.subplots()
    names = [NAMES.get(line.name, line.what) for line in result.lines]
    p50, p90 = ([getattr(line.spread, key) for line in result.lines] for key in ("p50", "p90"))
    colors = {TOWER: ORANGE, FLOOR: GREY}
    places = range(len(names))
    axes.barh(places, p50, color=[colors.get(line.name, BLUE) for line in result.lines], height=0.68)
    axes.vlines(p90, [place - 0.34 for place in places], [place + 0.34 for place in places], color="black", linewidth=1.4)
    for place, (median, high) in enumerate(zip(p50, p90, strict=True)):
        axes.annotate(f"{median:.{DIGITS}g}", (max(median, high), place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.15 * max(p90)), xlabel=f"ms for one image: bar p50, mark p90, of {result.runs} runs")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_heading(result), fontsize=11)
    text = io.StringIO()
    figure.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()


def _row(shown: Table, line: Line, tower: Line, name: str) -> None:
    shown.add_row(
        name,
        f"{line.spread.p50:.2f}",
        f"{line.spread.p90:.2f}",
        f"{line.spread.p50 / tower.spread.p50:.2f}",
        "" if line.cosine_mean is None else f"{line.cosine_mean:.4f}",
        "" if line.size is None else f"{line.size / 1e6:.1f}",
    )


def _heading(result: Result) -> str:
    threads = "one thread" if result.threads == 1 else f"{result.threads} threads"
    return f"{Path(result.file).name}, {threads}, {result.machine.cpu} ({result.machine.instruction_set})"
