"""`convert bench`: a bundle's speed beside its floor and its peers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from convert.bench.bars import Place, require_peers
from convert.bench.machine import this_machine
from convert.bench.measure import Result, Trial, measure
from convert.bench.peers import parse_names
from convert.bench.show import chart, notes, table
from convert.commands.matching import matching_model
from convert.model.load import models_folder
from convert.options import ModelOptions
from convert.support.console import Terminal, say
from convert.support.errors import LimitMissed, ModelError, UsageError
from convert.support.files import check_target, write_atomically
from convert.support.progress import OnTerminal
from tflite_runtime_app.admission.open import checked_bundle
from tflite_runtime_app.board import usable_threads


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is timed and how; `check` holds the result to the bars of this processor."""

    against: str
    runs: int
    threads: int
    images: tuple[Path, ...]
    check: bool


def bench(file: Path, options: BenchOptions, as_json: bool, out: Path | None, model: ModelOptions) -> None:
    """Shows the figures, `out` holds them and a chart; with `check` raises LimitMissed naming the bars that are missed."""
    if out is not None:
        check_target(out / "bench.json")
    names, machine = parse_names(options.against), this_machine()
    threads, notice = usable_threads(options.threads)
    if options.check:
        require_peers(names, Place(checked_bundle(file).manifest.name, machine.instruction_set, threads))
    if notice:
        print(f"convert: {notice}", file=sys.stderr)
    trial = Trial(names, options.runs, threads, options.images or (_photographs(model.models),), machine)
    result = measure(file, trial, lambda bundle: matching_model(bundle.manifest, file, model), OnTerminal())
    if out is not None:
        write_atomically(out / "bench.json", json.dumps(result.to_dict(), indent=1).encode())
        write_atomically(out / "bench.svg", chart(result).encode())
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        console = Terminal(soft_wrap=True)
        console.print(table(result))
        console.print("\n".join(notes(result)))
        if out is not None:
            say((out / "bench.svg").resolve())
    if options.check:
        _hold(result)


def _photographs(models: Path | None) -> Path:
    """The photographs that the clone ships."""
    try:
        folder = models_folder(models) / "photographs"
    except ModelError as error:
        raise UsageError("no images to run on; give some with --images FOLDER|ARCHIVE") from error
    if not folder.is_dir():
        raise UsageError(f"no images to run on: {folder} does not exist; give some with --images FOLDER|ARCHIVE")
    return folder


def _hold(result: Result) -> None:
    missed = [
        f"{verdict.text}: missed, {verdict.ratio:.2f} times as fast"
        for verdict in result.verdicts
        if verdict.kept is False and verdict.ratio is not None
    ]
    if missed:
        raise LimitMissed("; ".join(missed))
