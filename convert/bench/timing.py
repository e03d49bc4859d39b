"""Timing several things side by side, so that what disturbs the machine hits all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convert.support.progress import Progress

WARM_UP = 5

Run = Callable[[], Sequence[float]]  # does the work once; may return the milliseconds of its parts


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 90th percentile, in milliseconds."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of every run: of the whole, and of each part that the run itself reported."""

    whole: tuple[float, ...]
    parts: tuple[tuple[float, ...], ...] = ()

    @property
    def spread(self) -> Spread:
        """Of the whole. It is no sum of the parts' percentiles: one run is rarely slow in every part."""
        return spread(self.whole)

    @property
    def part_spreads(self) -> tuple[Spread, ...]:
        """Of each part over all runs."""
        return tuple(spread(values) for values in zip(*self.parts, strict=True))


def spread(values: Sequence[float]) -> Spread:
    """Median and 90th percentile, linear between neighbours."""
    p50, p90 = np.percentile(values, (50, 90))
    return Spread(float(p50), float(p90))


def interleave(
    runs: Mapping[str, Run],
    rounds: int,
    progress: Progress,
    warm_up: int = WARM_UP,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> dict[str, Times]:
    """Every run once a round, in an order drawn anew each round; `warm_up` rounds before them are not counted.

    Each timed run comes right after an untimed one of the same thing: caches then hold what they hold when it runs again and
    again, not what the one before it left. The garbage collector rests meanwhile.
    """
    random, names = np.random.default_rng(seed), list(runs)
    whole: dict[str, list[float]] = {name: [] for name in names}
    parts: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    total, enabled = warm_up + rounds, gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in progress.over(range(total), total, "timed rounds, warm-up first"):
            for place in random.permutation(len(names)):
                name = names[place]
                runs[name]()
                start = clock()
                found = runs[name]()
                milliseconds = (clock() - start) * 1e3
                if number >= warm_up:
                    whole[name].append(milliseconds)
                    parts[name].append(tuple(found))
    finally:
        if enabled:
            gc.enable()
    return {name: Times(tuple(whole[name]), tuple(parts[name])) for name in names}
