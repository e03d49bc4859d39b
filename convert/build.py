"""From a model and a target to a bundle and its report: each step is a function of another module, here is their order."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.gates import NEVER
from calibration.ranges import Grid
from calibration.samples import SampleSet, load, samples
from calibration.stored import Stored, StoredError, from_bytes
from calibration.two_term import STREAM
from convert import fit, noise, parity
from convert.audit import SignatureAudit, audit
from convert.errors import CalibrationError, UsageError
from convert.export import stages_to_float_tflite
from convert.gate_graph import add_gates
from convert.integer import IntegerFile, make_integer
from convert.label_files import LabelList, embed_labels
from convert.models import ClipModel
from convert.pack import describe
from convert.progress import Progress
from convert.rewrites import LADDER, Entry, Rewrite, rewrite
from convert.rewrites.key_value_centring import mean_roles
from convert.roles import recognise
from convert.stages import Stage, build_stages, default_exits
from targets.profile import Profile
from tflite_runtime_app.bundle import REPORT, pack
from tflite_runtime_app.cascade import Cascade
from tflite_runtime_app.engine import LiteRtEngine
from tflite_runtime_app.fitted import fits, for_labels, labels_digest
from tflite_runtime_app.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.manifest import Manifest
from tflite_runtime_app.policies import Never

NOISE_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `images` empty: the model folder's calibration is used and `photographs` are measured on."""

    model: ClipModel
    profile: Profile
    labels: LabelList
    exits: tuple[int, ...] | None
    images: tuple[Path, ...]
    photographs: Path | None
    observer: str
    stream: str
    seed: int
    ladder: tuple[Rewrite, ...] = LADDER


@dataclass(frozen=True, slots=True)
class Build:
    """What a build gives: the flatbuffer and the bundle's parts, the calibration it rests on, and the report's data."""

    flatbuffer: bytes
    manifest: Manifest
    bank: LabelBank
    stored: Stored
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """The rewritten float stages and the float file made of them, its tensors recognised."""

    stages: tuple[Stage, ...]
    log: tuple[Entry, ...]
    float_file: bytes
    by_name: dict[str, str]
    difference: float

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the file holds."""
        return frozenset(self.by_name.values())


def build(request: Request, progress: Progress) -> Build:
    """The bundle for the request, audited and measured. Raises a ConvertError with the remedy when it cannot be made."""
    start = time.monotonic()
    torch.manual_seed(request.seed)
    tower = request.model.tower()
    exits = request.exits or default_exits(len(tower.blocks))
    try:
        plain = build_stages(rewrite(tower, {}, LADDER[:1])[0], exits)
    except ValueError as error:
        raise UsageError(f"--exits: {error}") from error
    bank = embed_labels(request.labels, request.model)
    progress.step(f"{len(bank.names)} labels embedded")
    if request.images:
        everything = load(samples(request.images), request.model.preprocessing)
        _require(everything)
        progress.step(f"{len(everything)} images read, {len(everything.skipped)} skipped")
        shares = fit.share_out(everything)
        chosen = fit.range_images(shares.ranges.images, request.seed)
        means = fit.channel_means(plain, chosen, frozenset(mean_roles(len(tower.blocks))), progress)
        graph = make_graph(request.model, request.ladder, exits, means, request.seed, progress)
        grids, largest = fit.ranges(graph.stages, chosen, graph.roles, request.observer, progress)
        unfitted = _unfitted(request, exits, shares, len(chosen), means, grids, largest, bank)
        stored = _fit_gates(request, graph, bank, unfitted, shares, progress)
        reported: SampleSet | None = shares.report
    else:
        stored = _stored(request, exits)
        graph = make_graph(request.model, request.ladder, exits, stored.means, request.seed, progress)
        reported = _photographs(request)
    integer = _integer(graph, stored)
    flatbuffer = add_gates(integer.content, stored.gates)
    audited = audit(flatbuffer, integer.by_name, integer.grids, request.profile.forbidden)
    progress.step("full-integer file written and audited")
    manifest = describe(flatbuffer, graph.stages, request.model, stored, request.profile.name, {})
    if not fits(manifest, bank):
        progress.step("the exits were fitted for other labels: every image will go to full depth; --images fits them for these")
    usable = for_labels(manifest, bank)
    measured, noisy = _measure(request, graph, integer, flatbuffer, usable, bank, reported, progress)
    if request.images and measured is not None:
        stored = dataclasses.replace(stored, measured={**measured.to_dict(), "cosines": []})
    manifest = dataclasses.replace(manifest, limits=_limits(stored.measured or (measured.to_dict() if measured else {})))
    recorded = stored.measured if not request.images and fits(manifest, bank) else {}
    seconds = time.monotonic() - start
    report = _report(request, graph, manifest, stored, audited, measured, noisy, reported, recorded, len(flatbuffer), seconds)
    return Build(flatbuffer, manifest, bank, stored, report)


def cascade_of(flatbuffer: bytes, manifest: Manifest) -> Cascade:
    """The board's cascade over the file, run to full depth."""
    return Cascade(LiteRtEngine(flatbuffer, threads=2), manifest, Never())


def make_graph(
    model: ClipModel,
    ladder: tuple[Rewrite, ...],
    exits: tuple[int, ...],
    means: Mapping[str, NDArray[np.float32]],
    seed: int,
    progress: Progress,
) -> Graph:
    """Rewrite, cut, convert, recognise."""
    stages, log = _rewritten(model, ladder, exits, means)
    float_file = stages_to_float_tflite(stages, progress)
    found = recognise(float_file, stages, seed)
    progress.step(f"{len(found.by_name)} tensors recognised, off by at most {found.difference:.1e}")
    return Graph(stages, log, float_file, found.by_name, found.difference)


def prepare_ranges(request: Request, images: SampleSet | None, progress: Progress) -> tuple[tuple[Stage, ...], dict[str, Grid]]:
    """The rewritten float stages and their grids, from images or the model folder; a stream in two terms has none, it is near exact."""
    tower = request.model.tower()
    exits = request.exits or default_exits(len(tower.blocks))
    if images is None:
        stored = _stored(request, exits)
        means, grids = stored.means, stored.grids
        stages = _rewritten(request.model, request.ladder, exits, means)[0]
    else:
        chosen = fit.range_images(fit.share_out(images).ranges.images, request.seed)
        plain = build_stages(rewrite(tower, {}, LADDER[:1])[0], exits)
        means = fit.channel_means(plain, chosen, frozenset(mean_roles(len(tower.blocks))), progress)
        stages = _rewritten(request.model, request.ladder, exits, means)[0]
        grids = fit.ranges(stages, chosen, None, request.observer, progress)[0]
    if request.stream == "two_term":
        grids = {role: grid for role, grid in grids.items() if not STREAM.fullmatch(role)}
    return stages, grids


def _rewritten(
    model: ClipModel, ladder: tuple[Rewrite, ...], exits: tuple[int, ...], means: Mapping[str, NDArray[np.float32]]
) -> tuple[tuple[Stage, ...], tuple[Entry, ...]]:
    tower, log = rewrite(model.tower(), {role: torch.from_numpy(mean) for role, mean in means.items()}, ladder)
    return build_stages(tower, exits), log


def _stored(request: Request, exits: tuple[int, ...]) -> Stored:
    """The model folder's calibration, if it is one for these weights, exits, rewrites and stream."""
    model = request.model
    path = model.folder / "calibration.npz" if model.folder is not None else None
    if path is None or not path.is_file():
        raise CalibrationError(f"{model.name} has no calibration.npz; give pictures to calibrate on: --images FOLDER|TAR")
    try:
        stored = from_bytes(path.read_bytes())
    except StoredError as error:
        raise CalibrationError(f"{path}: {error}; calibrate again: --images FOLDER|TAR") from error
    names = tuple(step.name for step in request.ladder)
    for what, mine, theirs in (
        ("weights", model.weights_sha256, stored.weights_sha256),
        ("exits", exits, stored.exits),
        ("rewrites", names, stored.ladder),
        ("stream", request.stream, stored.stream),
    ):
        if mine != theirs:
            raise CalibrationError(
                f"{path} was made for {what} {theirs!s:.60}, not {mine!s:.60}; calibrate again: --images FOLDER|TAR"
            )
    return stored


def _require(images: SampleSet) -> None:
    if len(images) < 5:
        raise CalibrationError(
            f"--images holds {len(images)} readable pictures ({len(images.skipped)} broken); "
            "calibration needs at least 5 and should have 500"
        )


def _photographs(request: Request) -> SampleSet | None:
    """The photographs that the clone ships, to measure on when no images are given."""
    if request.photographs is None or not request.photographs.is_dir():
        return None
    found = load(samples([request.photographs]), request.model.preprocessing)
    return found if len(found) else None


def _integer(graph: Graph, stored: Stored) -> IntegerFile:
    return make_integer(graph.float_file, graph.by_name, stored.grids, stored.largest, stored.stream)


def _unfitted(
    request: Request,
    exits: tuple[int, ...],
    shares: fit.Shares,
    range_images: int,
    means: dict[str, NDArray[np.float32]],
    grids: dict[str, Grid],
    largest: dict[str, float],
    bank: LabelBank,
) -> Stored:
    """The calibration so far: ranges, no gates yet."""
    return Stored(
        weights_sha256=request.model.weights_sha256,
        exits=exits,
        ladder=tuple(step.name for step in request.ladder),
        stream=request.stream,
        digest=hashlib.sha256((shares.ranges.digest + shares.gates.digest + shares.thresholds.digest).encode()).hexdigest(),
        images=range_images,
        observer=request.observer,
        means=means,
        grids=grids,
        largest=largest,
        gates=(),
        thresholds=(),
        none_threshold=-1.0,
        measured={},
        labels=labels_digest(bank.names),
    )


def _fit_gates(request: Request, graph: Graph, bank: LabelBank, stored: Stored, shares: fit.Shares, progress: Progress) -> Stored:
    """The calibration with gates and thresholds for the integer file that its ranges give."""
    integer = _integer(graph, stored)
    progress.step("first full-integer file, to fit the gates on")
    bare = describe(integer.content, graph.stages, request.model, stored, request.profile.name, {})
    judged = []
    for part in (shares.gates, shares.thresholds):
        if not len(part):
            return stored
        reference = parity.float_embeddings(request.model, part.images, progress)
        labels = request.labels.indices(part.folders)
        judged.append(fit.judge(cascade_of(integer.content, bare), bare, bank, part, reference, labels, progress))
    gates = fit.first_gates(judged[0].found)
    gated = add_gates(integer.content, gates)
    closed = dataclasses.replace(stored, gates=gates, thresholds=(NEVER,) * len(gates))
    manifest = describe(gated, graph.stages, request.model, closed, request.profile.name, {})
    chosen, none = fit.thresholds(cascade_of(gated, manifest), manifest, *judged)
    progress.step(f"thresholds {list(chosen.values)}: {chosen.loss * 100:+.2f} points lost on {chosen.images} held-apart images")
    return dataclasses.replace(closed, thresholds=chosen.values, none_threshold=none)


def _measure(
    request: Request,
    graph: Graph,
    integer: IntegerFile,
    flatbuffer: bytes,
    manifest: Manifest,
    bank: LabelBank,
    reported: SampleSet | None,
    progress: Progress,
) -> tuple[parity.Parity | None, noise.Noise | None]:
    """Parity with open_clip and noise per block, on images that nothing was fitted to."""
    if reported is None:
        return None, None
    reference = parity.float_embeddings(request.model, reported.images, progress)
    labels: Sequence[int] | None = request.labels.indices(reported.folders)
    measured = parity.measure(cascade_of(flatbuffer, manifest), manifest, bank, reported.images, reference, labels, progress)
    some = reported.images[:NOISE_IMAGES]
    noisy = noise.measure(
        flatbuffer, graph.stages, integer.by_name, integer.grids, progress.over(some, len(some), "noise per block")
    )
    return measured, noisy


def _limits(measured: dict[str, Any]) -> dict[str, float]:
    """What `convert verify` holds a file to: no more than twice the loss that was measured here."""
    if not measured:
        return {}
    return {key: round(max(0.0, 1 - 2 * (1 - float(measured[key]))), 4) for key in ("cosine_mean", "agreement")}


def _report(
    request: Request,
    graph: Graph,
    manifest: Manifest,
    stored: Stored,
    audited: dict[str, SignatureAudit],
    measured: parity.Parity | None,
    noisy: noise.Noise | None,
    reported: SampleSet | None,
    recorded: dict[str, Any],
    size: int,
    seconds: float,
) -> dict[str, Any]:
    """The report's data: everything that was decided and measured, as plain values."""
    return {
        "model": {"name": request.model.name, "weights_sha256": request.model.weights_sha256, "tower": _tower_facts(graph)},
        "target": {"name": request.profile.name, "title": request.profile.title},
        "flatbuffer_bytes": size,
        "stages": [
            {
                **dataclasses.asdict(audited[stage.signature]),
                "signature": stage.signature,
                "blocks_done": stage.blocks_done,
                "head_macs": stage.head_macs,
            }
            for stage in manifest.stages
        ],
        "ladder": [dataclasses.asdict(entry) for entry in graph.log],
        "conversion_difference": graph.difference,
        "calibration": {
            "digest": stored.digest,
            "images": stored.images,
            "observer": stored.observer,
            "from": "images" if request.images else "calibration.npz",
        },
        "gates": [{"threshold": gate.threshold, "mean": gate.mean, "deviation": gate.deviation} for gate in manifest.gates],
        "policy": manifest.policy.name,
        "limits": manifest.limits,
        "measured_on": "held-apart images" if request.images else "the photographs in models/photographs",
        "parity": None if measured is None else measured.to_dict(),
        "recorded": recorded or None,
        "noise": None if noisy is None else {"images": noisy.images, "nsr": noisy.nsr, "power": noisy.power},
        "names": list(reported.names) if reported is not None and len(reported) <= 100 else [],
        "skipped": list(reported.skipped) if reported is not None else [],
        "seconds": round(seconds, 1),
        "tools": manifest.tools,
    }


def _tower_facts(graph: Graph) -> dict[str, Any]:
    tower = graph.stages[0].tower
    return {
        "blocks": len(tower.blocks),
        "width": tower.width,
        "heads": tower.heads,
        "tokens": tower.tokens,
        "image_size": tower.image_size,
        "patch_size": tower.patch_size,
        "embedding": tower.embedding_size,
        "activation": tower.activation,
        "pooling": tower.pooling,
        "norm_pre": tower.norm_pre is not None,
    }


def bundle_bytes(result: Build) -> tuple[bytes, Manifest]:
    """The bundle as it is written, and its manifest with all digests."""
    import json

    members = {"labels.npz": labels_to_bytes(result.bank), REPORT: json.dumps(result.report).encode()}
    return pack(result.flatbuffer, result.manifest, members)
