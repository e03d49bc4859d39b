"""Every step from naive min-max INT8 to the file that `build` makes, measured on the same held-apart images; and which factor earns what.

The ladder: each rewrite added in turn, all with min-max ranges and one int8 stream; then the ranges by error, then the stream in two terms.
The factorial: rotation off and on, every observer, both streams.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.observers import OBSERVERS
from calibration.ranges import decide, largest
from calibration.replay import replay
from calibration.samples import SampleSet
from calibration.statistics import Statistics
from convert import fit, noise, parity
from convert.calibrated import centring_means
from convert.graph import Graph, make_graph
from convert.integer import STREAMS, make_integer
from convert.models import ClipModel
from convert.pack import describe, undecided
from convert.progress import Progress
from convert.rewrites import LADDER
from tflite_runtime_app.labels import LabelBank

NOISE_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Rung:
    """One file: what it was made with, and how close it is to float. Shares in 0..1, milliseconds the median at full depth."""

    name: str
    rewrites: int
    observer: str
    stream: str
    cosine_mean: float
    cosine_p5: float
    agreement: float
    top1: float | None
    top1_float: float | None
    nsr: tuple[float, ...]
    megabytes: float
    ms: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What all rungs share: model, labels, exits, held-apart images, their float embeddings and labels."""

    model: ClipModel
    bank: LabelBank
    images: SampleSet
    reference: NDArray[np.float32]
    labels: tuple[int, ...] | None


def climb(
    trial: Trial, shares: fit.Shares, exits: tuple[int, ...], seed: int, progress: Progress
) -> tuple[list[Rung], list[Rung]]:
    """The ladder's rungs in order, and the factorial's."""
    chosen = fit.range_images(shares.ranges.images, seed)
    means = centring_means(trial.model, exits, chosen, progress)
    rungs: list[Rung] = []
    factorial: list[Rung] = []
    for count in range(1, len(LADDER) + 1):
        graph = make_graph(trial.model, LADDER[:count], exits, means, seed, progress)
        seen = fit.statistics(graph.stages, chosen, graph.roles, progress)
        name = "naive min-max" if count == 1 else f"+ {LADDER[count - 1].name}"
        rungs.append(_rung(trial, graph, seen, name, count, "min-max", "int8", progress))
        if count >= len(LADDER) - 1:  # without the last rewrite, the rotation, and with it
            word = "rotated" if count == len(LADDER) else "not rotated"
            for observer in OBSERVERS:
                for stream in STREAMS:
                    factorial.append(_rung(trial, graph, seen, word, count, observer, stream, progress))
    chosen_by_error = {(rung.observer, rung.stream): rung for rung in factorial if rung.rewrites == len(LADDER)}
    for name, key in (("+ ranges by error", ("mse", "int8")), ("+ two-term stream", ("mse", "two_term"))):
        found = chosen_by_error[key]
        rungs.append(dataclasses.replace(found, name=name))
    return rungs, factorial


def _rung(
    trial: Trial,
    graph: Graph,
    seen: dict[str, Statistics],
    name: str,
    rewrites: int,
    observer: str,
    stream: str,
    progress: Progress,
) -> Rung:
    grids = decide(seen, OBSERVERS[observer])
    integer = make_integer(graph.float_file, graph.by_name, grids, largest(seen), stream)
    manifest = describe(integer.content, graph.stages, trial.model, undecided(stream), "rpi", {})
    found = replay(parity.cascade_of(integer.content, manifest), trial.images.images)
    result = parity.at_full_depth(found, trial.bank, trial.reference, trial.labels)
    some = trial.images.images[:NOISE_IMAGES]
    nsr = noise.measure(integer.content, graph.stages, integer.by_name, integer.grids, some).nsr
    progress.step(f"{name}, {observer}, {stream}: cosine {result.cosine_mean:.4f}, agreement {result.agreement * 100:.1f} %")
    return Rung(
        name,
        rewrites,
        observer,
        stream,
        result.cosine_mean,
        result.cosine_p5,
        result.agreement,
        result.top1,
        result.top1_float,
        nsr,
        len(integer.content) / 1e6,
        float(np.median(found.ms.sum(1))),
    )
