"""What a user gains over what he would take otherwise, in one sentence, and what he loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from convert.bench.bars import DECISIONS, FLOOR, TOWER
from convert.bench.timing import Spread

DYNAMIC = "dynamic"  # one flag away, for the same runtime


class Timed(Protocol):
    """What a line says of a contestant."""

    @property
    def name(self) -> str: ...
    @property
    def spread(self) -> Spread: ...
    @property
    def size(self) -> int | None: ...
    @property
    def cosine_mean(self) -> float | None: ...


def gain(lines: Sequence[Timed]) -> list[str]:
    """One line: this file beside `dynamic` and beside the fastest peer, with every point where the other is better; none without peers."""
    (tower, *_), others = lines, [line for line in lines if line.name not in (TOWER, FLOOR, DECISIONS)]
    if not others:
        return []
    fastest = min(others, key=lambda line: line.spread.p50)
    dynamic = [line for line in others if line.name == DYNAMIC]
    said = [_beside(tower, line, line.name) for line in dynamic]
    if fastest not in dynamic:
        said.append(_beside(tower, fastest, f"{fastest.name}, the fastest peer"))
    return [f"gain: {'; '.join(said)}."]


def _beside(tower: Timed, other: Timed, name: str) -> str:
    ratio = other.spread.p50 / tower.spread.p50
    points = [f"{ratio:.2f} times as fast as {name}{'' if ratio > 1 else ' (slower)'}"]
    if tower.cosine_mean is not None and other.cosine_mean is not None:
        worse = " (less exact)" if tower.cosine_mean < other.cosine_mean else ""
        points.append(f"cosine {tower.cosine_mean:.4f} for {other.cosine_mean:.4f}{worse}")
    if tower.size is not None and other.size is not None:
        worse = " (larger)" if tower.size > other.size else ""
        points.append(f"{tower.size / 1e6:.1f} MB for {other.size / 1e6:.1f}{worse}")
    return ", ".join(points)
