"""How fast a file must be: bars as data, and which of them hold on this machine and for this model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from convert.bench.machine import VNNI
from convert.bench.timing import Spread
from convert.model.load import DEFAULT_MODEL
from convert.support.errors import UsageError

TOWER, FLOOR, DECISIONS = "tower", "floor", "decisions"
POCKET = (DEFAULT_MODEL,)
BASE_32 = ("ViT-B-32", "ViT-B-32-openai")  # wide layers and few tokens: what stands between products weighs least
BASE_16 = ("ViT-B-16", "ViT-B-16-openai")
TINY = ("deit-tiny",)  # narrow layers and 197 tokens: softmax weighs most


@dataclass(frozen=True, slots=True)
class Bar:
    """`kept` judges the other's median time over the tower's. `sets` and `models` say where it holds; None is everywhere.

    Every bar is set for one thread.
    """

    text: str
    other: str
    kept: Callable[[float], bool]
    sets: tuple[str, ...] | None = VNNI
    models: tuple[str, ...] | None = None


def _floor(most: float, models: tuple[str, ...]) -> Bar:
    return Bar(f"at most {most} times its floor", FLOOR, lambda ratio: ratio >= 1 / most, models=models)


BARS = (
    _floor(1.1, POCKET + BASE_16),
    _floor(1.02, BASE_32),
    _floor(1.3, TINY),
    Bar("decides at its exits in 5 % of its time", DECISIONS, lambda ratio: ratio <= 0.05, sets=None, models=POCKET),
    Bar("decides at its exits in 2 % of its time", DECISIONS, lambda ratio: ratio <= 0.02, sets=None, models=BASE_32),
    Bar("at least 2.5 times as fast as float", "float", lambda ratio: ratio >= 2.5),
    Bar("at least 1.25 times as fast as dynamic", "dynamic", lambda ratio: ratio >= 1.25),
    *(Bar(f"faster than {name}", name, lambda ratio: ratio > 1) for name in ("onnxruntime", "openvino", "ncnn")),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` is None where the bar was not judged, for the reason `why`; `ratio` is the other's median over the tower's."""

    text: str
    kept: bool | None
    ratio: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file was timed: the model by name, the processor's instruction set, and how many threads each had."""

    model: str
    instruction_set: str
    threads: int = 1


def judge(spreads: Mapping[str, Spread], place: Place) -> tuple[Verdict, ...]:
    """Every bar's verdict."""
    return tuple(_verdict(bar, spreads, place) for bar in BARS)


def require_peers(against: Sequence[str], place: Place) -> None:
    """Returns when every bar that holds here will be judged; raises UsageError naming the peers that are missing."""
    holding = [bar.other for bar in BARS if not _excused(bar, place)]
    missing = [other for other in holding if other not in (FLOOR, DECISIONS) and other not in against]
    if missing:
        raise UsageError(
            f"--check on {place.instruction_set} also judges {', '.join(missing)}; add: --against {','.join((*against, *missing))}"
        )


def _verdict(bar: Bar, spreads: Mapping[str, Spread], place: Place) -> Verdict:
    ratio = spreads[bar.other].p50 / spreads[TOWER].p50 if bar.other in spreads else None
    excuse = _excused(bar, place)
    if excuse:
        return Verdict(bar.text, None, ratio, excuse)
    if ratio is None:
        return Verdict(bar.text, None, None, f"not measured, add --against {bar.other}")
    return Verdict(bar.text, bar.kept(ratio), ratio)


def _excused(bar: Bar, place: Place) -> str:
    """Why the bar does not hold here; empty when it does."""
    if bar.models is not None and place.model not in bar.models:
        return f"set for {', '.join(bar.models)} only"
    if place.threads != 1:
        return f"set for one thread, this ran on {place.threads}"
    if bar.sets is not None and place.instruction_set not in bar.sets:
        return f"set for {' and '.join(bar.sets)} only, this machine has {place.instruction_set}"
    return ""
