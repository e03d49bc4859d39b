"""Accuracy against cost: every exit alone, and every family of policies along all of its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.choose import Aim, choose
from calibration.families import DEFAULT, FAMILIES
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.policies import Policy

POINTS = 40  # of a curve


@dataclass(frozen=True, slots=True)
class Point:
    """What a policy costs and gives on some images: share of full MACs, milliseconds, accuracy (agreement where labels are not known)."""

    share: float
    ms: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Row:
    """A family's policy, chosen on some images and measured on others. `loss` is the drop against full depth, in points / 100."""

    family: str
    point: Point
    loss: float
    harmed: float
    rescued: float


def point(seen: Observed, left: NDArray[np.int64], ms: Sequence[float]) -> Point:
    """The point of images that left at these stages; `ms` is what it takes to leave at each."""
    target = seen.top1[:, -1] if seen.wanted is None else seen.wanted
    accuracy = float((seen.answers(left) == target).mean())
    return Point(seen.share(left), float(np.array(ms)[left].mean()), accuracy)


def every_exit(seen: Observed, ms: Sequence[float]) -> list[Point]:
    """All images leaving at each stage in turn, the last being full depth."""
    return [point(seen, np.full(len(seen), stage, np.int64), ms) for stage in range(seen.exits + 1)]


def curve(seen: Observed, members: Sequence[Policy], ms: Sequence[float]) -> list[Point]:
    """The points of a family's members, at most `POINTS`, evenly spread."""
    chosen = np.unique(np.linspace(0, len(members) - 1, min(POINTS, len(members))).astype(int)) if members else []
    return [point(seen, seen.leaves(members[k]), ms) for k in chosen]


def curves(seen: Observed, learned: Observed, offsets: Sequence[int], ms: Sequence[float]) -> dict[str, list[Point]]:
    """Every family along its members, whose numbers come from `learned`."""
    return {name: curve(seen, family(learned, offsets), ms) for name, family in FAMILIES.items() if name != DEFAULT}


def compared(
    seen: Observed, learned: Observed, held: Observed, offsets: Sequence[int], ms: Sequence[float], aim: Aim
) -> list[Row]:
    """A row per family: its policy for the aim, chosen on `learned` and `held`, measured on `seen`."""
    rows = []
    for name, family in FAMILIES.items():
        policy = choose(family(learned, offsets), held, aim, bound=name == DEFAULT, learned=learned).policy
        left = seen.leaves(policy)
        rows.append(
            Row(name, point(seen, left, ms), seen.loss(left), float(seen.harmed(left).mean()), float(seen.rescued(left).mean()))
        )
    return rows
