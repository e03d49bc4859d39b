"""Run the float stages over the representative images and remember each tensor's statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import kind
from calibration.statistics import Statistics, observe

SCORES = frozenset({"scores", "scores_scaled"})

Tap = Callable[[str, NDArray[np.float32]], None]
Run = Callable[[NDArray[np.float32], Tap], None]


def collect(run: Run, batches: Iterable[NDArray[np.float32]], roles: frozenset[str] | None) -> dict[str, Statistics]:
    """Statistics of every role in `roles`, of all without them, over batches [n, H, W, 3] in 0..1; memory does not grow with their number.

    A score counts as much as softmax reacts to it, p (1 - p): one far below its row's largest, or far above all others, needs no precision.
    """
    seen: dict[str, Statistics] = {}
    scores: dict[str, NDArray[np.float32]] = {}

    def tap(role: str, values: NDArray[np.float32]) -> None:
        if kind(role) == "softmax":
            for name, waiting in scores.items():
                seen[name] = observe(seen.get(name), waiting, values * (1 - values))
            scores.clear()
        if roles is not None and role not in roles:
            return
        if kind(role) in SCORES:
            scores[role] = values
        else:
            seen[role] = observe(seen.get(role), values)

    for batch in batches:
        run(batch, tap)
    return seen


@dataclass(slots=True)
class _Sum:
    total: NDArray[np.float64]
    rows: int = 0


@dataclass(slots=True)
class ChannelMeans:
    """Means over images and tokens of each channel (last axis) of the roles asked for; feed it as a tap, then read `result`."""

    roles: frozenset[str]
    _sums: dict[str, _Sum] = field(default_factory=dict)

    def __call__(self, role: str, values: NDArray[np.float32]) -> None:
        if role not in self.roles:
            return
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        entry = self._sums.setdefault(role, _Sum(np.zeros(rows.shape[1])))
        entry.total += rows.sum(0)
        entry.rows += rows.shape[0]

    def result(self) -> dict[str, NDArray[np.float32]]:
        """Role -> mean per channel."""
        return {role: (entry.total / entry.rows).astype(np.float32) for role, entry in self._sums.items()}


@dataclass(slots=True)
class ChannelExtremes:
    """The smallest and the largest value of each channel (last axis) of the roles asked for; feed it as a tap, then read `result`."""

    roles: frozenset[str]
    _ends: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)

    def __call__(self, role: str, values: NDArray[np.float32]) -> None:
        if role not in self.roles:
            return
        rows = values.reshape(-1, values.shape[-1])
        low, high = rows.min(0), rows.max(0)
        before = self._ends.get(role, (low, high))
        self._ends[role] = np.minimum(before[0], low), np.maximum(before[1], high)

    def result(self) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Role -> (smallest, largest) per channel."""
        return dict(self._ends)
