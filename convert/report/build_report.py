"""The data that a build's report is drawn from: everything that was decided and measured."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from calibration.phases import Calibrated
from calibration.samples import SampleSet
from convert.emit.finished import Finished
from convert.emit.graph import Graph
from convert.measure.evidence import Evidence
from convert.measure.parity import Parity
from convert.model.load import ClipModel
from convert.passes.state import Fired
from convert.request import Request
from convert.rewrites import Entry
from targets.profile import Profile
from targets.tiles import tiles
from tflite_runtime_app.bundle.manifest import Manifest

LADDER_FILE = "ladder.json"  # in a model folder


@dataclass(frozen=True, slots=True)
class TowerFacts:
    """The shape of an image tower."""

    blocks: int
    width: int
    heads: int
    tokens: int
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    embedding: int
    activation: str
    pooling: str
    norm_pre: bool


@dataclass(frozen=True, slots=True)
class StageFacts:
    """A stage's signature: its operators, multiply-accumulates, those that XNNPACK takes, and operators that it leaves for their scales."""

    operators: dict[str, int]
    macs: int
    macs_xnnpack: int
    left_by_scale: tuple[str, ...]
    signature: str
    blocks_done: int
    head_macs: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """A build's report; its fields are the keys of report.json, in this order."""

    model: dict[str, Any]  # name, weights_sha256, tower
    target: dict[str, str]  # name, title, what its kernel's tiles lack
    flatbuffer_bytes: int
    stages: tuple[StageFacts, ...]
    ladder: tuple[Entry, ...]  # the rewrites, and why those that did not fire did not
    passes: tuple[Fired, ...]
    steps: dict[str, Any] | None  # what `convert ladder --keep` measured
    conversion_difference: float
    calibration: dict[str, Any]
    gates: tuple[dict[str, Any], ...]
    policy: str
    risk: dict[str, float]
    exits: dict[str, Any]  # what the exits were chosen by, and what leaving early does
    limits: dict[str, float]
    measured_on: str
    parity: Parity | None
    recorded: dict[str, Any] | None  # figures that came with the calibration
    noise: dict[str, Any] | None
    names: tuple[str, ...]  # of the images, where they are few
    skipped: tuple[str, ...]
    seconds: float
    tools: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return dataclasses.asdict(self)


def build_report(
    request: Request,
    graph: Graph,
    finished: Finished,
    calibrated: Calibrated,
    evidence: Evidence,
    images: SampleSet | None,
    seconds: float,
) -> BuildReport:
    """The report of a build that was measured on these images and took so many seconds."""
    model, manifest, noisy = request.model, finished.manifest, evidence.noise
    recorded = at_cost_of(manifest, calibrated.measured) if not request.images and finished.labels_match else {}
    return BuildReport(
        model={"name": model.name, "weights_sha256": model.weights_sha256, "tower": dataclasses.asdict(_tower_facts(graph))},
        target={"name": request.profile.name, "title": request.profile.title, "tiles": _tiles(graph, request.profile)},
        flatbuffer_bytes=len(finished.flatbuffer),
        stages=tuple(
            StageFacts(
                **dataclasses.asdict(finished.audited[stage.signature]),
                signature=stage.signature,
                blocks_done=stage.blocks_done,
                head_macs=stage.head_macs,
            )
            for stage in manifest.stages
        ),
        ladder=graph.log,
        passes=finished.integer.passes,
        steps=measured_ladder(model),
        conversion_difference=graph.difference,
        calibration={
            "digest": calibrated.origin.digest,
            "images": calibrated.origin.images,
            "observer": calibrated.origin.observer,
            "observers": calibrated.ranges.observers,
            "from": "images" if request.images else "calibration.npz",
        },
        gates=tuple({"threshold": gate.threshold, "mean": gate.mean, "deviation": gate.deviation} for gate in manifest.gates),
        policy=manifest.policy.name,
        risk=manifest.calibration.risk,
        exits=_with_former_key(calibrated.exits.evidence),
        limits=manifest.limits,
        measured_on="held-apart images" if request.images else "the photographs in models/photographs",
        parity=evidence.parity,
        recorded=recorded or None,
        noise=None if noisy is None else {"images": noisy.images, "nsr": noisy.nsr, "power": noisy.power},
        names=images.names if images is not None and len(images) <= 100 else (),
        skipped=images.skipped if images is not None else (),
        seconds=round(seconds, 1),
        tools=manifest.tools,
    )


def at_cost_of(manifest: Manifest, measured: dict[str, Any]) -> dict[str, Any]:
    """Figures of an earlier day at this file's multiply-accumulates: as many images leave at each exit, and leaving may cost less now."""
    exits = measured.get("exits", ())
    if len(exits) != len(manifest.stages):
        return measured
    rows = [{**row, "macs": manifest.macs_until(number)} for number, row in enumerate(exits)]
    mean = sum(row["share"] * row["macs"] for row in rows)
    return {**measured, "exits": rows, "mean_macs": mean, "full_macs": manifest.total_macs}


def measured_ladder(model: ClipModel) -> dict[str, Any] | None:
    """What `convert ladder --keep` measured of a model folder's towers, None where it did not or they have changed since.

    What it tells is full depth's, which exits' heads have no part in: others do not make it out of date, though megabytes and
    milliseconds are those of the files with the heads of that day.
    """
    path = None if model.folder is None else model.folder / LADDER_FILE
    if path is None or not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found.get("space_id") == model.space_id else None


def _with_former_key(evidence: dict[str, Any]) -> dict[str, Any]:
    """The evidence, `lct` under its former name too: for programs that read report.json, for one version."""
    return {**evidence, "lact": evidence["lct"]} if "lct" in evidence else evidence


def _tiles(graph: Graph, profile: Profile) -> str:
    found = tiles(graph.stages[0].tower.tokens, profile.tile_rows)
    return "" if found is None else found.sentence


def _tower_facts(graph: Graph) -> TowerFacts:
    tower = graph.stages[0].tower
    return TowerFacts(
        blocks=len(tower.blocks),
        width=tower.width,
        heads=tower.heads,
        tokens=tower.tokens,
        image_size=tower.image_size,
        patch_size=tower.patch_size,
        embedding=tower.embedding_size,
        activation=tower.activation,
        pooling=tower.pooling,
        norm_pre=tower.norm_pre is not None,
    )
