"""Progress of the workshop's long steps: a bar on standard error when it is a terminal, otherwise plain lines."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from tflite_runtime_app.escaping.terminal import escaped

Item = TypeVar("Item")


class Progress(Protocol):
    """What long-running functions report to."""

    def step(self, what: str) -> None:
        """One piece of work is done."""

    def over(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """The items, while a bar shows how many are done."""


class Silent:
    """Reports nothing."""

    def step(self, what: str) -> None:
        """Nothing is shown."""

    def over(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """The items as they are."""
        yield from items


class OnTerminal:
    """A line for each finished step with the seconds since the start; bars only where standard error is a terminal."""

    def __init__(self) -> None:
        # A descriptor of its own: `quiet.py` points file descriptor 2 elsewhere while native libraries chatter.
        stream = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        weakref.finalize(self, stream.close)
        self._console = Console(file=stream, soft_wrap=True, highlight=False)
        self._start = time.monotonic()

    def step(self, what: str) -> None:
        """Print the step with the seconds since the start."""
        self._console.print(Text.assemble((f"{time.monotonic() - self._start:6.1f} s", "dim"), f"  {escaped(what)}"))

    def over(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """The items, while a bar shows how many of `total` are done and how long the rest will take."""
        columns = (
            TextColumn("          {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bars:
            task = bars.add_task(escaped(what), total=total)
            for item in items:
                yield item
                bars.advance(task)
        self.step(f"{what} ({total})")
