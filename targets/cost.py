"""How long a network takes on a board that was not measured: a model with one rate per board, fitted to times that others published.

    seconds = MACs / rate + bytes / bandwidth + (islands x CUT_CYCLES + plain cycles) / clock

`rate` is the geometric mean of what each published time leaves for its MACs once its bytes are paid for. How far to trust it: each
published network is left out in turn and predicted from the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# A cut of the graph costs 0.2 us on a workstation of about 3 GHz: measured by us, there is no published figure.
CUT_CYCLES = 600
# Cycles per element that LiteRT's plain int8 kernels take on one core, from our measurements on the same workstation: softmax of
# [6, 50, 50] in 51 us, GELU (a table) of [50, 1536] in 33 us. An A53 does less in a cycle; this is the least certain part.
PLAIN_CYCLES: Mapping[str, float] = {"SOFTMAX": 10.0, "GELU": 1.3}
OTHER_CYCLES = 10.0
LEAST_SHARE = 0.1  # of a published time stays with the MACs, whatever the bytes are said to take


@dataclass(frozen=True, slots=True)
class Published:
    """A time that somebody else measured: milliseconds for one image with so many threads."""

    network: str
    runtime: str
    threads: int
    ms: float


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do for one image: multiply–accumulates, bytes moved, pieces that XNNPACK gets, and the elements that each
    operator left to plain kernels makes.
    """

    macs: float
    bytes: float
    islands: int = 0
    plain: Mapping[str, float] = field(default_factory=dict)

    @property
    def plain_cycles(self) -> float:
        """Cycles of one core in plain kernels."""
        return sum(count * PLAIN_CYCLES.get(name, OTHER_CYCLES) for name, count in self.plain.items())


# MACs as in the table of published times; bytes in int8: each weight read once, each activation written and read once
# (parameters, and outputs of the convolutions at 224 pixels, rounded; bytes are 3 to 36 % of a published time).
NETWORKS: Mapping[str, Work] = {
    "ResNet-50": Work(4.1e9, 25.6e6 + 2 * 11.1e6),
    "ResNet-18": Work(1.82e9, 11.7e6 + 2 * 2.5e6),
    "MobileNetV1": Work(0.569e9, 4.2e6 + 2 * 5.0e6),
    "MobileNetV2": Work(0.3e9, 3.5e6 + 2 * 6.7e6),
    # TensorFlow Lite Micro's person detection: MobileNetV1 of a quarter of the width, 96 x 96 grey pixels.
    "MobileNetV1-0.25-96": Work(7.2e6, 0.21e6 + 2 * 0.23e6),
}


@dataclass(frozen=True, slots=True)
class CostModel:
    """A board's constants: MACs a second, bytes a second, cycles a second, with the number of threads that they hold for."""

    rate: float
    bandwidth: float
    clock: float
    threads: int

    def ms(self, work: Work) -> float:
        """Predicted milliseconds: never less for more MACs, bytes, islands or plain elements."""
        cycles = work.islands * CUT_CYCLES + work.plain_cycles
        return 1000 * (work.macs / self.rate + work.bytes / self.bandwidth + cycles / self.clock)


@dataclass(frozen=True, slots=True)
class Error:
    """Of predictions of published times from the others, as shares of the published ones: the mean and the largest, over so many."""

    mean: float
    worst: float
    points: int


def fit(points: Sequence[Published], threads: int, bandwidth_gb_s: float, clock_mhz: float) -> CostModel | None:
    """The board's cost model for so many threads; None when nothing was published for them."""
    bandwidth = bandwidth_gb_s * 1e9
    fitting = [point for point in points if point.threads == threads]
    if not fitting:
        return None
    rate = math.exp(sum(math.log(_rate(point, bandwidth)) for point in fitting) / len(fitting))
    return CostModel(rate, bandwidth, clock_mhz * 1e6, threads)


def leave_one_out(points: Sequence[Published], threads: int, bandwidth_gb_s: float, clock_mhz: float) -> Error | None:
    """Each published time predicted from the others' rate; None when fewer than two were published for so many threads."""
    fitting = [point for point in points if point.threads == threads]
    errors = []
    for number, point in enumerate(fitting):
        others = fit((*fitting[:number], *fitting[number + 1 :]), threads, bandwidth_gb_s, clock_mhz)
        if others is not None:
            errors.append(abs(others.ms(NETWORKS[point.network]) / point.ms - 1))
    return Error(sum(errors) / len(errors), max(errors), len(errors)) if errors else None


def _rate(point: Published, bandwidth: float) -> float:
    """MACs a second in the time that is left when the bytes are moved."""
    work, seconds = NETWORKS[point.network], point.ms / 1000
    return work.macs / max(seconds - work.bytes / bandwidth, LEAST_SHARE * seconds)
