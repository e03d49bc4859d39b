"""`convert check`: a bundle against a board's limits, or a microcontroller's build against its part's, as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from convert.board.check import Checked, Verdict
from convert.board.check import check as check_bundle
from convert.support.console import Terminal
from convert.support.errors import LimitMissed, UsageError
from targets.cost import Error
from targets.profile import Profile, load
from tflite_runtime_app.admission.open import accepted_bundle

WIDTH = 100
MARKS = {True: "kept", False: "missed", None: "not judged"}


def check(file: Path, target: str, as_json: bool) -> None:
    """Shows every verdict; raises LimitMissed naming the limits that are not kept."""
    profile = load(target)
    if profile.micro:
        _check_micro(file, profile, as_json)
        return
    if file.is_dir():
        raise UsageError(f"{file} is a folder, {target} takes a bundle's file; folders are for --target mcu-…")
    found = check_bundle(accepted_bundle(file), profile)
    if as_json:
        print(json.dumps({"file": str(file), **found.to_dict()}, indent=1))
    else:
        console = Terminal(width=WIDTH)
        console.print(verdict_table(found.verdicts, f"{found.target}: {profile.title}", _memory(found)))
        console.print(stage_table(found))
        if found.tiles is not None and found.tiles.sentence:
            console.print(found.tiles.sentence)
    if found.missed:
        raise LimitMissed(f"{file} misses {target}'s limits: {'; '.join(in_words(verdict) for verdict in found.missed)}")


def _check_micro(path: Path, profile: Profile, as_json: bool) -> None:
    """The same of a folder of stages, or of one stage's file."""
    from convert.micro.limits import check as check_micro
    from convert.micro.summary import stage_table as micro_table

    found = check_micro(path, profile)
    data = found.to_dict()
    if as_json:
        print(json.dumps({"file": str(path), **data}, indent=1))
    else:
        console = Terminal(width=WIDTH)
        console.print(verdict_table(found.verdicts, f"{found.target}: {profile.title}"))
        if found.stages:
            console.print(micro_table(data, "stages"))
    if found.missed:
        raise LimitMissed(f"{path} misses {profile.name}'s limits: {'; '.join(in_words(verdict) for verdict in found.missed)}")


def in_words(verdict: Verdict) -> str:
    """A missed limit in words."""
    if not verdict.unit:
        return f"{verdict.what}: {verdict.why}"
    return f"{verdict.what} {verdict.found:.1f} {verdict.unit}, at most {verdict.limit:g}"


def verdict_table(verdicts: Sequence[Verdict], title: str, caption: str = "") -> Table:
    """A row a limit."""
    table = Table(title=title, caption=caption or None)
    for column in ("limit", "found", "at most", ""):
        table.add_column(column, justify="right" if column in ("found", "at most") else "left")
    for verdict in verdicts:
        value = "-" if verdict.found is None else f"{verdict.found:.{1 if verdict.unit in ('MB', 'ms') else 0}f} {verdict.unit}"
        mark = MARKS[verdict.kept] + (f": {verdict.why}" if verdict.why else "")
        table.add_row(verdict.what, value, f"{verdict.limit:g} {verdict.unit}", mark)
    return table


def _memory(found: Checked) -> str:
    """What the peak is made of."""
    return (
        f"peak memory: libraries {found.footprint.import_bytes / 2**20:.1f} MB; "
        f"file, packed weights, arenas and labels {found.footprint.growth_bytes / 2**20:.1f} MB"
    )


def stage_table(found: Checked) -> Table:
    """A row a stage, below them the total with the gates'; how far to trust the milliseconds stands in the caption."""
    table = Table(title=f"predicted with {found.threads} threads", show_footer=True)
    totals = {
        "stage": "full depth",
        "MMAC": f"{sum(stage.macs for stage in found.stages) / 1e6:.1f}",
        "MB moved": f"{sum(stage.bytes for stage in found.stages) / 1e6:.1f}",
        "islands": str(sum(stage.islands for stage in found.stages)),
        "plain Mcycles": f"{sum(stage.plain_cycles for stage in found.stages) / 1e6:.2f}",
        "ms": _ms(found.ms),
    }
    for column, total in totals.items():
        table.add_column(column, footer=total, justify="left" if column == "stage" else "right")
    for stage in found.stages:
        if stage.signature.startswith("gate_"):  # a few multiplications on the host's numbers
            continue
        table.add_row(
            stage.signature,
            f"{stage.macs / 1e6:.1f}",
            f"{stage.bytes / 1e6:.1f}",
            str(stage.islands),
            f"{stage.plain_cycles / 1e6:.2f}",
            _ms(stage.ms),
        )
    table.caption = f"No board of ours was measured: milliseconds come from times that others published. {_trust(found.error)}"
    return table


def _trust(error: Error | None) -> str:
    if error is None:
        return "Too few are known here to say how far off they are."
    return (
        f"Each of those {error.points} predicted from the others is off by {error.mean:.0%} in the mean, "
        f"{error.worst:.0%} at worst; they are convolutional networks, a ViT may be further off."
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
