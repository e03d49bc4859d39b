"""What a microcontroller's build or check shows on the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from convert.report import formats


def stage_table(micro: dict[str, Any], title: str) -> Table:
    """A row a stage: what it is made of, what it takes, how it agrees; notes below."""
    estimated = any(stage["vela"] for stage in micro["stages"])
    table = Table(title=title, box=box.SIMPLE_HEAD, title_style="bold", padding=(0, 1), caption_justify="left")
    compared = all(stage["agreement"] for stage in micro["stages"])
    columns = ["stage", "ops", "MMAC", "kB", "arena", *(["differs"] if compared else [])]
    columns += ["CPU", "Mcycles", "SRAM"] if estimated else []
    for column in (*columns, "ms"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for stage in micro["stages"]:
        cells = [stage["key"], str(sum(stage["operators"].values())), formats.mega(stage["macs"]), _kilo(stage["bytes"])]
        cells += [_kilo(stage["arena"]["total"]), *([_differs(stage["agreement"])] if compared else [])]
        if estimated:
            found = stage["vela"]
            cells += [str(found["cpu_operators"]), formats.number(found["cycles"] / 1e6, 2), _kilo(found["sram_bytes"])]
        table.add_row(*cells, "-" if stage["ms"] is None else formats.number(stage["ms"], 1))
    table.caption = Text("\n".join(_notes(micro)))
    return table


def _notes(micro: dict[str, Any]) -> list[str]:
    """What must be known to read the table right, a line each."""
    names = sorted({name for stage in micro["stages"] for name in stage["operators"]})
    notes = [f"ops: {', '.join(names)}. Arena and SRAM in kB."]
    if any(stage["vela"] for stage in micro["stages"]):
        notes.append("CPU: operators that Vela leaves to it; Mcycles and SRAM are Vela's estimates.")
    agreements = [stage["agreement"] for stage in micro["stages"] if stage["agreement"]]
    if agreements:
        values = sum(found["values"] for found in agreements)
        notes.append(
            f"differs: of {values} int8 values on {agreements[0]['pictures']} images, TFLM's reference kernels against LiteRT's."
        )
    if "flash" in micro:
        flash = micro["flash"]
        notes.append(
            f"Flash {formats.megabytes(flash['stages'] + flash['labels'])} without the program, {_kilo(flash['labels'])} kB of it "
            f"labels; one arena of {_kilo(micro['arena_bytes'])} kB."
        )
    if micro.get("decisions"):
        found = micro["decisions"]
        notes.append(
            f"C against classify on {found['pictures']} images: {found['other_exit']} leave elsewhere, "
            f"{found['other_label']} get another label."
        )
        values = ", ".join(formats.number(value, 4) for value in micro["cosines"])
        notes.append(f"Cosine with float, stage by stage, by TFLM's kernels on the same images: {values}.")
    if micro.get("gelu"):
        found = micro["gelu"]
        notes.append(
            f"GELU as {found['form']} form: cosine with float {formats.number(found['form_cosines'][-1], 4)}, as operator "
            f"{formats.number(found['operator_cosines'][-1], 4)} ({found['images']} images); recorded figures are the operator's."
        )
    if micro["ms"] is None:
        return [*notes, "ms: not predicted, no time was published for this runtime on this part."]
    error = micro["error"]
    trust = f", off by {error['mean']:.0%} in the mean" if error else ""
    return [*notes, f"ms: predicted by {micro['predicted_by']}{trust}; no part was measured."]


def _differs(found: dict[str, int]) -> str:
    if not found["different"]:
        return "0"
    return f"{found['different']} (by {found['largest']})"


def _kilo(size: int) -> str:
    """Thousands of bytes."""
    return f"{size / 1000:.0f}"
