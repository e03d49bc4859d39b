"""Every step from naive min-max INT8 to the file that `build` makes, measured on the same held-apart images; and which factor earns what.

The ladder: each rewrite added in turn, all with min-max ranges and one int8 stream; then the quantizer's own steps
(`convert/rewrites/recipe.py`). A rewrite after which the file is less near to float may be what a later one needs, so the whole is measured
without it too. The factorial: rotation off and on, every observer, every stream, weights at their nearest codes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.observers import OBSERVERS
from calibration.phases import RangeCalibration, RewriteInputs
from calibration.ranges import decide, largest
from calibration.samples import SampleSet
from calibration.search import SEARCH
from calibration.statistics import Statistics
from convert.calibrate import channels
from convert.calibrate.bias_correction import head_errors
from convert.calibrate.images import Shares, range_images, rounding_images
from convert.calibrate.observers import observers_by_kind
from convert.calibrate.probabilities import where_it_pays
from convert.calibrate.ranges import statistics
from convert.calibrate.rotation_seed import quietest
from convert.calibrate.rounding import rounded
from convert.emit.graph import Graph, make_graph
from convert.emit.integer import MEASURED_STREAMS, IntegerFile, corrected, make_integer
from convert.emit.manifest import bare_cascade
from convert.measure import noise, parity
from convert.model.load import ClipModel
from convert.report.ladder_page import fell
from convert.rewrites import LADDER, Rewrite
from convert.rewrites.recipe import QUANTIZER_STEPS
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.replay import replay

FACTORIAL_IMAGES = 200
UNROTATED = tuple(step for step in LADDER if "rotation" not in step.name)
TARGET = "rpi"


@dataclass(frozen=True, slots=True)
class Made:
    """What one file was made with: rewrites by number, then the quantizer's choices."""

    name: str
    rewrites: int
    observer: str
    stream: str


@dataclass(frozen=True, slots=True)
class Rung(Made):
    """One file: what it was made with, and how close it is to float. Shares in 0..1, milliseconds the median at full depth."""

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
    exits: tuple[int, ...]
    images: SampleSet
    reference: NDArray[np.float32]
    labels: tuple[int, ...] | None

    def first(self, count: int) -> Trial:
        """The trial on its first images alone."""
        labels = None if self.labels is None else self.labels[:count]
        return dataclasses.replace(self, images=self.images.part(0, count), reference=self.reference[:count], labels=labels)


@dataclass(frozen=True, slots=True)
class Climb:
    """The ladder's rungs in order; the whole without each rewrite that raised the noise where it stands; and the factorial."""

    ladder: tuple[Rung, ...]
    left_out: tuple[Rung, ...]
    factorial: tuple[Rung, ...]


def climb(trial: Trial, shares: Shares, seed: int, factorial: bool, progress: Progress) -> Climb:
    """All that is measured, the factorial where it is wanted."""
    chosen = range_images(shares.ranges.images, seed)
    inputs = channels.measure(trial.model.tower(), trial.exits, chosen, progress)
    inputs = quietest(trial.model, LADDER, trial.exits, inputs, chosen, "two_term", progress)
    rungs: list[Rung] = []
    for count in range(1, len(LADDER) + 1):
        graph = make_graph(trial.model, LADDER[:count], trial.exits, inputs, seed, progress)
        seen = statistics(graph.stages, chosen, graph.roles, progress)
        made = Made("naive min-max" if count == 1 else f"+ {LADDER[count - 1].name}", count, "min-max", "int8")
        rungs.append(_rung(trial, graph, _file(graph, seen, made), made, progress))
    files = _quantizer_files(trial, graph, seen, chosen, progress)
    made_by = [Made(f"+ {step}", len(LADDER), SEARCH, "int8" if step == "ranges" else "two_term") for step in QUANTIZER_STEPS]
    rungs += [_rung(trial, graph, files[step], how, progress) for step, how in zip(QUANTIZER_STEPS, made_by, strict=True)]
    left_out = _left_out(trial, raised([rung.cosine_mean for rung in rungs[: len(LADDER)]]), inputs, chosen, seed, progress)
    if not factorial:
        return Climb(tuple(rungs), left_out, ())
    rotated = _factorial(trial, graph, seen, "rotated", progress)
    graph = make_graph(trial.model, UNROTATED, trial.exits, inputs, seed, progress)
    seen = statistics(graph.stages, chosen, graph.roles, progress)
    unrotated = _factorial(trial, graph, seen, "not rotated", progress)
    return Climb(tuple(rungs), left_out, (*unrotated, *rotated))


def raised(cosines: Sequence[float]) -> list[Rewrite]:
    """The rewrites after which the mean cosine was lower than before; `cosines` has one for each."""
    return [step for step, (before, now) in zip(LADDER[1:], pairwise(cosines), strict=True) if fell(before, now)]


def _left_out(
    trial: Trial, steps: Sequence[Rewrite], inputs: RewriteInputs, chosen: NDArray[np.int8], seed: int, progress: Progress
) -> tuple[Rung, ...]:
    """The whole ladder without each of these rewrites."""
    found = []
    for left in steps:
        graph = make_graph(trial.model, tuple(step for step in LADDER if step is not left), trial.exits, inputs, seed, progress)
        seen = statistics(graph.stages, chosen, graph.roles, progress)
        file = _quantizer_files(trial, graph, seen, chosen, progress)[QUANTIZER_STEPS[-1]]
        made = Made(f"all but {left.name}", len(LADDER) - 1, SEARCH, "two_term")
        found.append(_rung(trial, graph, file, made, progress))
    return tuple(found)


def _quantizer_files(
    trial: Trial, graph: Graph, seen: dict[str, Statistics], chosen: NDArray[np.int8], progress: Progress
) -> dict[str, IntegerFile]:
    """A file for each of the quantizer's steps, added in turn to the graph's rewrites as `build` takes them."""
    observers = observers_by_kind(SEARCH, graph.stages, seen, chosen, "two_term", progress)
    ranges = RangeCalibration(decide(seen, observers), largest(seen), observers)
    files = {
        "ranges": make_integer(graph.float_file, graph.by_name, ranges, "int8"),
        "two-term-stream": make_integer(graph.float_file, graph.by_name, ranges, "two_term"),
    }
    ranges = where_it_pays(graph.stages, ranges, chosen, "two_term", progress)
    files["two-term-probabilities"] = make_integer(graph.float_file, graph.by_name, ranges, "two_term")
    codes = rounded(graph.stages, ranges.grids, rounding_images(chosen), progress)
    files["rounding"] = make_integer(graph.float_file, graph.by_name, ranges, "two_term", codes)
    cascade = bare_cascade(files["rounding"].content, graph.stages, trial.model, TARGET)
    errors = head_errors(cascade, graph.stages, chosen, progress)
    files["bias-correction"] = corrected(files["rounding"], errors)
    return files


def _factorial(trial: Trial, graph: Graph, seen: dict[str, Statistics], word: str, progress: Progress) -> list[Rung]:
    some, count = trial.first(FACTORIAL_IMAGES), len(graph.log)
    made = [Made(word, count, observer, stream) for observer in OBSERVERS for stream in MEASURED_STREAMS]
    return [_rung(some, graph, _file(graph, seen, how), how, progress) for how in made]


def _file(graph: Graph, seen: dict[str, Statistics], made: Made) -> IntegerFile:
    ranges = RangeCalibration(decide(seen, OBSERVERS[made.observer]), largest(seen))
    return make_integer(graph.float_file, graph.by_name, ranges, made.stream)


def _rung(trial: Trial, graph: Graph, integer: IntegerFile, made: Made, progress: Progress) -> Rung:
    what = f"{made.name}, {made.observer}, {made.stream}"
    cascade = bare_cascade(integer.content, graph.stages, trial.model, TARGET)
    found = replay(cascade, progress.over(trial.images.images, len(trial.images), what))
    result = parity.at_full_depth(found, trial.bank, trial.reference, trial.labels)
    some = trial.images.images[: noise.noise_images(graph.stages)]
    nsr = noise.measure(integer.content, graph.stages, integer.by_name, integer.grids, some).nsr
    progress.step(f"{what}: cosine {result.cosine_mean:.4f}, agreement {result.agreement * 100:.1f} %")
    return Rung(
        **dataclasses.asdict(made),
        **dataclasses.asdict(result),
        nsr=nsr,
        megabytes=len(integer.content) / 1e6,
        ms=float(np.median(found.ms.sum(1))),
    )
