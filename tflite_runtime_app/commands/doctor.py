"""The command `classify doctor`: is everything here that classify needs, and what to do where it is not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Literal

from tflite_runtime_app.checks import Check, camera, machine, software
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped

MARKS: dict[str, str] = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="a bundle to load and time, too")
    parser.add_argument(
        "--row", action="store_true", help="measure FILE and print a row for the table in docs/boards.md, nothing else"
    )
    parser.add_argument(
        "--red-card", metavar="SOURCE", help="hold something red before this camera: are red and blue the right way round?"
    )


def run(arguments: argparse.Namespace) -> int:
    """A line a check on standard output; 0 when nothing is bad, 1 otherwise."""
    if arguments.row:
        if not arguments.file:
            raise UsageError("--row measures a bundle; name it: classify doctor FILE --row")
        from tflite_runtime_app.checks.row import markdown, row

        print(escaped(markdown(row(arguments.file))))
        return 0
    kinds: list[Callable[[], Iterable[Check]]] = [software.checks, machine.checks, camera.checks]
    if arguments.file:
        from tflite_runtime_app.checks import model

        kinds.append(lambda: model.checks(arguments.file))
    if arguments.red_card:
        kinds.append(lambda: [camera.red_card(arguments.red_card)])
    worst: Literal["ok", "bad"] = "ok"
    for kind in kinds:
        for check in kind():
            print(f"{MARKS[check.state]}  {check.name:<16} {escaped(check.found)}")
            if check.remedy:
                print(f"      {'':<16} -> {escaped(check.remedy)}")
            if check.state == "bad":
                worst = "bad"
    sys.stdout.flush()
    return 0 if worst == "ok" else 1
