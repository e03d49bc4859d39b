"""Every step from naive min-max INT8 to the file that `build` makes, measured on the same held-apart images; and which factor earns what.

The ladder: each rewrite added in turn, all with min-max ranges and one int8 stream; then the quantizer's own steps
(`convert/rewrites/recipe.py`). The factorial: rotation off and on, every observer, every stream, weights at their nearest codes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.observers import OBSERVERS
from calibration.ranges import Grid, decide, largest
from calibration.samples import SampleSet
from calibration.search import SEARCH
from calibration.statistics import Statistics
from convert.calibrate import channels
from convert.calibrate import images as fit
from convert.calibrate.bias_correction import head_errors
from convert.calibrate.observers import observers_by_kind
from convert.calibrate.rotation_seed import quietest
from convert.emit.graph import Graph, make_graph
from convert.emit.integer import MEASURED_STREAMS, IntegerFile, corrected, make_integer
from convert.emit.manifest import describe, undecided
from convert.measure import noise, parity
from convert.model.load import ClipModel
from convert.rewrites import LADDER
from convert.rewrites.recipe import QUANTIZER_STEPS
from convert.stages.layers import rounded
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.cascade import Cascade

FACTORIAL_IMAGES = 200
UNROTATED = tuple(step for step in LADDER if "rotation" not in step.name)


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

    def first(self, count: int) -> Trial:
        """The trial on its first images alone."""
        labels = None if self.labels is None else self.labels[:count]
        return dataclasses.replace(self, images=self.images.part(0, count), reference=self.reference[:count], labels=labels)


def climb(
    trial: Trial, shares: fit.Shares, exits: tuple[int, ...], seed: int, factorial: bool, progress: Progress
) -> tuple[list[Rung], list[Rung]]:
    """The ladder's rungs in order, and the factorial's where it is wanted."""
    chosen = fit.range_images(shares.ranges.images, seed)
    measured = channels.measure(trial.model.tower(), exits, chosen, progress)
    measured = quietest(trial.model, LADDER, exits, measured, chosen, "two_term", progress)
    rungs: list[Rung] = []
    for count in range(1, len(LADDER) + 1):
        graph = make_graph(trial.model, LADDER[:count], exits, measured, seed, progress)
        seen = fit.statistics(graph.stages, chosen, graph.roles, progress)
        name = "naive min-max" if count == 1 else f"+ {LADDER[count - 1].name}"
        integer = _file(graph, seen, "min-max", "int8")
        rungs.append(_rung(trial, graph, integer, name, count, "min-max", "int8", progress))
    rungs += _quantizer_steps(trial, graph, seen, chosen, progress)
    if not factorial:
        return rungs, []
    rotated = _factorial(trial, graph, seen, "rotated", progress)
    graph = make_graph(trial.model, UNROTATED, exits, measured, seed, progress)
    seen = fit.statistics(graph.stages, chosen, graph.roles, progress)
    return rungs, _factorial(trial, graph, seen, "not rotated", progress) + rotated


def _quantizer_steps(
    trial: Trial, graph: Graph, seen: dict[str, Statistics], chosen: NDArray[np.int8], progress: Progress
) -> list[Rung]:
    """All rewrites, and the quantizer's steps added in turn, as `build` takes them."""
    observers = observers_by_kind(SEARCH, graph.stages, seen, chosen, "two_term", progress)
    grids, most = decide(seen, observers), largest(seen)
    files = {
        "ranges": make_integer(graph.float_file, graph.by_name, grids, most, "int8"),
        "two-term-stream": make_integer(graph.float_file, graph.by_name, grids, most, "two_term"),
    }
    codes = rounded(graph.stages, grids, fit.rounding_images(chosen), progress)
    files["rounding"] = make_integer(graph.float_file, graph.by_name, grids, most, "two_term", codes)
    errors = head_errors(_cascade(trial, graph, files["rounding"], "two_term"), graph.stages, chosen, progress)
    files["bias-correction"] = corrected(files["rounding"], errors)
    streams = dict.fromkeys(QUANTIZER_STEPS, "two_term") | {"ranges": "int8"}
    return [
        _rung(trial, graph, files[step], f"+ {step}", len(LADDER), SEARCH, streams[step], progress) for step in QUANTIZER_STEPS
    ]


def _factorial(trial: Trial, graph: Graph, seen: dict[str, Statistics], word: str, progress: Progress) -> list[Rung]:
    some, count = trial.first(FACTORIAL_IMAGES), len(graph.log)
    return [
        _rung(some, graph, _file(graph, seen, observer, stream), word, count, observer, stream, progress)
        for observer in OBSERVERS
        for stream in MEASURED_STREAMS
    ]


def _file(graph: Graph, seen: dict[str, Statistics], observer: str, stream: str) -> IntegerFile:
    grids: dict[str, Grid] = decide(seen, OBSERVERS[observer])
    return make_integer(graph.float_file, graph.by_name, grids, largest(seen), stream)


def _cascade(trial: Trial, graph: Graph, integer: IntegerFile, stream: str) -> Cascade:
    manifest = describe(integer.content, graph.stages, trial.model, undecided(stream), "rpi", {})
    return parity.cascade_of(integer.content, manifest)


def _rung(
    trial: Trial,
    graph: Graph,
    integer: IntegerFile,
    name: str,
    rewrites: int,
    observer: str,
    stream: str,
    progress: Progress,
) -> Rung:
    watched = progress.over(trial.images.images, len(trial.images), f"{name}, {observer}, {stream}")
    found = replay(_cascade(trial, graph, integer, stream), watched)
    result = parity.at_full_depth(found, trial.bank, trial.reference, trial.labels)
    some = trial.images.images[: noise.noise_images(graph.stages)]
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
