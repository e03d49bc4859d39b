"""Which observer for which kind of tensor: coordinate descent on the noise that the network's end hears.

Every kind starts with `START`. Kinds come in the order of what holding them exactly would gain, which is about the most that any observer
of theirs can; those that would gain less than `NEGLIGIBLE` of the whole noise keep their start, as do fixed grids. For each kind every
observer that gives other grids is tried, the kinds before it as they were chosen. The one of least noise over some images is kept only if
it beats the start over other images too, by more than `SURE` standard errors of the mean difference, image by image: what the choice
of images makes of a difference is no reason to prefer anything.
At most one pass per kind, and `MOST_KINDS` x (one per observer) more over the first images, and `MOST_KINDS` + 1 over the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.observers import OBSERVERS
from calibration.ranges import FIXED, Grid, decide, kind
from calibration.statistics import Statistics

SEARCH = "search"  # the name under which the choice of a search stands where an observer's could
START = "mse"
NEGLIGIBLE = 0.01
SURE = 2.0
MOST_KINDS = 8

Noise = Callable[[Mapping[str, Grid]], NDArray[np.float64]]  # of each image, these roles rounded
Watch = Callable[[Sequence[str], str], Iterable[str]]  # the items as they are, shown while they are gone through


def everywhere(statistics: Mapping[str, Statistics], observer: str) -> dict[str, str]:
    """That observer for every kind that was seen and has no fixed grid."""
    return dict.fromkeys(sorted({kind(role) for role in statistics} - FIXED.keys()), observer)


def search(
    statistics: Mapping[str, Statistics], first: Noise, other: Noise, watch: Watch = lambda items, what: items
) -> dict[str, str]:
    """The observer of every kind; `first` tells the noise over the images to choose by, `other` over those to confirm by."""
    chosen = everywhere(statistics, START)
    grids = decide(statistics, chosen)
    roles = {name: [role for role in statistics if kind(role) == name] for name in chosen}
    noise, confirmed = first(grids).mean(), other(grids)
    gains = {name: noise - first(_without(grids, name)).mean() for name in watch(list(chosen), "kinds held exactly in turn")}
    worth = [name for name in sorted(gains, key=lambda name: (-gains[name], name)) if gains[name] > NEGLIGIBLE * noise]
    for name in watch(worth[:MOST_KINDS], "observers of the kinds that matter"):
        best = noise, START, grids
        tried = [{role: grids[role] for role in roles[name]}]
        for observer in OBSERVERS:
            own = decide({role: statistics[role] for role in roles[name]}, {name: observer})
            if any(_same(own, other_grids) for other_grids in tried):
                continue
            tried.append(own)
            candidate = {**grids, **own}
            best = min(best, (first(candidate).mean(), observer, candidate), key=lambda found: found[0])
        if best[1] == START:
            continue
        now = other(best[2])
        if surely_less(confirmed - now):
            noise, chosen[name], grids = best
            confirmed = now
    return chosen


def surely_less(gain: NDArray[np.float64]) -> bool:
    """The mean gain is more than `SURE` of its standard errors."""
    return len(gain) > 1 and bool(gain.mean() > SURE * gain.std(ddof=1) / np.sqrt(len(gain)))


def _without(grids: Mapping[str, Grid], name: str) -> dict[str, Grid]:
    return {role: grid for role, grid in grids.items() if kind(role) != name}


def _same(one: Mapping[str, Grid], other: Mapping[str, Grid]) -> bool:
    """No end of any grid is a step away from the other's: a difference that the dice of rounding decide."""
    return all(
        max(abs(one[role].minimum - grid.minimum), abs(one[role].maximum - grid.maximum)) <= grid.scale
        for role, grid in other.items()
    )
