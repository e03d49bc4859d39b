"""How fast a file must be: bars as data, and which of them hold on this machine and for this model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from convert.bench.machine import VNNI
from convert.bench.timing import Spread
from convert.model.load import DEFAULT_MODEL
from convert.support.errors import UsageError

TOWER, FLOOR, FLOOR_LINEAR, DECISIONS = "tower", "floor", "floor_linear", "decisions"
BASE_32 = ("ViT-B-32", "ViT-B-32-openai")  # wider layers: what stands between products weighs less


@dataclass(frozen=True, slots=True)
class Bar:
    """`kept` judges the other's median time over the tower's. `sets` and `models` say where it holds; None is everywhere."""

    text: str
    other: str
    kept: Callable[[float], bool]
    sets: tuple[str, ...] | None = VNNI
    models: tuple[str, ...] | None = None


BARS = (
    Bar("at most 1.2 times its floor", FLOOR, lambda ratio: ratio >= 1 / 1.2, sets=None, models=(DEFAULT_MODEL,)),
    Bar("at most 1.15 times its floor", FLOOR, lambda ratio: ratio >= 1 / 1.15, sets=None, models=BASE_32),
    Bar("decides at its exits in 5 % of its time", DECISIONS, lambda ratio: ratio <= 0.05, sets=None, models=(DEFAULT_MODEL,)),
    Bar("decides at its exits in 2 % of its time", DECISIONS, lambda ratio: ratio <= 0.02, sets=None, models=BASE_32),
    Bar("at least 2.5 times as fast as float", "float", lambda ratio: ratio >= 2.5),
    Bar("faster than dynamic", "dynamic", lambda ratio: ratio > 1),
    Bar("faster than onnxruntime", "onnxruntime", lambda ratio: ratio > 1),
    Bar("faster than ncnn", "ncnn", lambda ratio: ratio > 1),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` is None where the bar was not judged, for the reason `why`; `ratio` is the other's median over the tower's."""

    text: str
    kept: bool | None
    ratio: float | None
    why: str = ""


def judge(spreads: Mapping[str, Spread], model: str, instruction_set: str, bars: Sequence[Bar] = BARS) -> tuple[Verdict, ...]:
    """Every bar's verdict."""
    return tuple(_verdict(bar, spreads, model, instruction_set) for bar in bars)


def require_peers(against: Sequence[str], model: str, instruction_set: str, bars: Sequence[Bar] = BARS) -> None:
    """Returns when every bar that holds here will be judged; raises UsageError naming the peers that are missing."""
    holding = [bar.other for bar in bars if not _excused(bar, model, instruction_set)]
    missing = [other for other in holding if other not in (FLOOR, DECISIONS) and other not in against]
    if missing:
        raise UsageError(
            f"--check on {instruction_set} also judges {', '.join(missing)}; add: --against {','.join((*against, *missing))}"
        )


def _verdict(bar: Bar, spreads: Mapping[str, Spread], model: str, instruction_set: str) -> Verdict:
    ratio = spreads[bar.other].p50 / spreads[TOWER].p50 if bar.other in spreads else None
    excuse = _excused(bar, model, instruction_set)
    if excuse:
        return Verdict(bar.text, None, ratio, excuse)
    if ratio is None:
        return Verdict(bar.text, None, None, f"not measured, add --against {bar.other}")
    return Verdict(bar.text, bar.kept(ratio), ratio)


def _excused(bar: Bar, model: str, instruction_set: str) -> str:
    """Why the bar does not hold here; empty when it does."""
    if bar.models is not None and model not in bar.models:
        return f"set for {', '.join(bar.models)} only"
    if bar.sets is not None and instruction_set not in bar.sets:
        return f"set for {' and '.join(bar.sets)} only, this machine has {instruction_set}"
    return ""
