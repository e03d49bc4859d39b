"""A bundle, its floor and its peers, timed in turn in this process: from files to figures."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.samples import Sample, SampleSet, count, load, samples
from convert.bench import peers
from convert.bench.bars import DECISIONS, FLOOR, TOWER, Place, Verdict, judge
from convert.bench.cold import ColdStart, cold_start
from convert.bench.decisions import LABELS, decisions_run
from convert.bench.floor import floor_file
from convert.bench.full_network import full_products
from convert.bench.huge_pages import in_use
from convert.bench.machine import Machine
from convert.bench.products import Product, stage_products
from convert.bench.subject import Peer, Subject
from convert.bench.timing import Run, Spread, Times, interleave
from convert.measure.parity import float_embeddings
from convert.model.load import ClipModel
from convert.support.errors import UsageError
from convert.support.progress import Progress
from convert.support.quiet import quiet
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.policies import Never

MOST_IMAGES = 64  # to calibrate on and to compare embeddings on


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was timed. `macs` and `size` (bytes) where they are known, cosines with open_clip where they were asked for."""

    name: str
    what: str
    spread: Spread
    macs: int | None = None
    size: int | None = None
    cosine_mean: float | None = None
    cosine_least: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured; on one thread in processor time, on more by the wall's clock.

    `stages` are parts of the tower, `lines` begin with the tower and its floor. `ratio` is the tower's median over the floor's;
    `huge_pages` says whether all of them had their memory in huge pages.
    """

    file: str
    model: str
    machine: Machine
    threads: int
    huge_pages: bool
    runs: int
    images: int
    lines: tuple[Line, ...]
    stages: tuple[Line, ...]
    ratio: float
    cold: ColdStart
    verdicts: tuple[Verdict, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {**dataclasses.asdict(self), "cold": {**dataclasses.asdict(self.cold), "growth_bytes": self.cold.growth_bytes}}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is timed beside the bundle, how often, on how many threads, on which images, and where."""

    against: tuple[str, ...]
    runs: int
    threads: int
    images: tuple[Path, ...]
    machine: Machine


def measure(file: Path, trial: Trial, model_of: Callable[[Bundle], ClipModel], progress: Progress) -> Result:
    """Cold start first, then everything in turn. `model_of` is asked only when there are peers, whose libraries are looked for first."""
    against, threads = trial.against, trial.threads
    peers.require(against)
    bundle = accepted_bundle(file)
    manifest = bundle.manifest
    chosen, first = _chosen(trial.images, bundle)
    cold = _cold_start(file, first, threads)
    progress.step("cold start and peak memory, in fresh processes")
    with quiet():  # LiteRT tells once that it uses XNNPACK
        cascade = load_cascade(bundle, threads, policy=Never())
    found = stage_products(bundle.flatbuffer)
    full = full_products(found, manifest.stages)
    clock = time.process_time if threads == 1 else time.perf_counter
    what_is_timed: dict[str, Run] = {
        TOWER: tower_run(cascade, chosen.images[:1], clock),
        FLOOR: floor_run(floor_file(full), threads),
    }
    if manifest.gates:
        what_is_timed[DECISIONS] = decisions_run(cascade, chosen.images[:1])
    progress.step(f"floor of {len(full)} products")
    with tempfile.TemporaryDirectory(prefix="clip-rescue-") as folder:
        ready: dict[str, Peer] = {}
        cosines: dict[str, NDArray[np.float32]] = {}
        if against:
            model = model_of(bundle)
            reference = float_embeddings(model, chosen.images, progress)
            cosines[TOWER] = _cosines((_embedding(cascade, image[None]) for image in chosen.images), reference)
            for name in against:
                place = Path(folder) / name
                place.mkdir()
                peer = peers.prepare(name, Subject(file, manifest, model, chosen.images, threads, place))
                cosines[name] = _cosines((peer.embed(inputs) for inputs in peer.inputs), reference)
                ready[name] = peer
                what_is_timed[name] = peer_run(peer)
                progress.step(f"{name} ready: {peer.what}")
        times = interleave(what_is_timed, trial.runs, progress, clock=clock)
    spreads = {name: timed.spread for name, timed in times.items()}
    return Result(
        file=str(file),
        model=manifest.name,
        machine=trial.machine,
        threads=threads,
        huge_pages=in_use(),
        runs=trial.runs,
        images=len(chosen),
        lines=(
            *_own_lines(spreads, (_macs(*found), _macs(full)), bundle, cosines),
            *(_peer_line(n, ready[n], spreads, cosines) for n in against),
        ),
        stages=_stage_lines(times[TOWER], bundle),
        ratio=spreads[TOWER].p50 / spreads[FLOOR].p50,
        cold=cold,
        verdicts=judge(spreads, Place(manifest.name, trial.machine.instruction_set, threads)),
    )


def tower_run(cascade: Cascade, image: NDArray[np.int8], clock: Callable[[], float]) -> Run:
    """All stages in turn through the board's engine, hand-over and the last embedding included; its parts are the stages."""

    def run() -> tuple[float, ...]:
        marks = [clock()]
        for output in cascade.stage_outputs(image):
            if len(marks) == len(cascade.manifest.stages):
                _ = output.embedding
            marks.append(clock())
        return tuple((after - before) * 1e3 for before, after in pairwise(marks))

    return run


def floor_run(content: bytes, threads: int) -> Run:
    """The bare invocation of a floor file: inputs are set once, outputs are not fetched."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], random.integers(-128, 128, detail["shape"], np.int8))

    def run() -> tuple[float, ...]:
        interpreter.invoke()
        return ()

    return run


def peer_run(peer: Peer) -> Run:
    """The peer's embedding of its first image."""

    def run() -> tuple[float, ...]:
        peer.embed(peer.inputs[0])
        return ()

    return run


def _chosen(images: tuple[Path, ...], bundle: Bundle) -> tuple[SampleSet, Sample]:
    """Readable images from all over the sources as tensors, and the first of them as the file that it was."""
    preprocessing = bundle.manifest.preprocessing
    every = -(-count(images) // (2 * MOST_IMAGES)) or 1  # a folder of sorted classes begins with one of them
    some = [sample for sample in islice(samples(images), 0, None, every) if len(load([sample], preprocessing))]
    readable = [some[k] for k in np.linspace(0, len(some) - 1, min(len(some), MOST_IMAGES)).astype(int)]
    if not readable:
        raise UsageError("no readable images to run on; give some with --images FOLDER|ARCHIVE")
    return load(readable, preprocessing), readable[0]


def _cold_start(file: Path, image: Sample, threads: int) -> ColdStart:
    with tempfile.TemporaryDirectory(prefix="clip-rescue-") as folder:
        path = Path(folder) / f"image{Path(image.name).suffix}"
        path.write_bytes(image.content)
        return cold_start(file, path, threads)


def _embedding(cascade: Cascade, image: NDArray[np.int8]) -> NDArray[np.float32]:
    """At full depth."""
    *_, last = cascade.stage_outputs(image)
    return last.embedding


def _cosines(embeddings: Iterable[NDArray[np.float32]], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = (unit(np.stack(list(embeddings))) * unit(reference)).sum(1)
    return cosines


def _macs(*stages: Sequence[Product]) -> int:
    return sum(product.macs for products in stages for product in products)


def _own_lines(
    spreads: Mapping[str, Spread], macs: tuple[int, int], bundle: Bundle, cosines: Mapping[str, NDArray[np.float32]]
) -> tuple[Line, ...]:
    """`macs` are the file's and its floor's."""
    size = bundle.path.stat().st_size
    tower = Line(TOWER, "full-integer TFLite, this file", spreads[TOWER], macs[0], size, *_both(cosines.get(TOWER)))
    floor = Line(FLOOR, "the full network's int8 products alone", spreads[FLOOR], macs[1])
    if DECISIONS not in spreads:
        return tower, floor
    return tower, floor, Line(DECISIONS, f"the host's work at every exit, {LABELS} labels", spreads[DECISIONS])


def _peer_line(name: str, peer: Peer, spreads: Mapping[str, Spread], cosines: Mapping[str, NDArray[np.float32]]) -> Line:
    return Line(name, peer.what, spreads[name], None, peer.size, *_both(cosines[name]))


def _both(cosines: NDArray[np.float32] | None) -> tuple[float | None, float | None]:
    return (None, None) if cosines is None else (float(cosines.mean()), float(cosines.min()))


def _stage_lines(times: Times, bundle: Bundle) -> tuple[Line, ...]:
    stages = bundle.manifest.stages
    return tuple(
        Line(stage.signature, f"to block {stage.blocks_done}", spread, stage.macs + stage.head_macs)
        for stage, spread in zip(stages, times.part_spreads, strict=True)
    )
