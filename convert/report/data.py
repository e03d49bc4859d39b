"""The data that a build's report is drawn from: everything that was decided and measured, as plain values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from calibration.samples import SampleSet
from calibration.stored import Stored
from convert.emit.graph import Graph
from convert.measure import noise, parity
from convert.model.load import ClipModel
from convert.request import Request
from convert.tflite.audit import SignatureAudit
from tflite_runtime_app.bundle.manifest import Manifest

LADDER_FILE = "ladder.json"  # in a model folder


def report_data(
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
        "steps": measured_ladder(request.model),
        "conversion_difference": graph.difference,
        "calibration": {
            "digest": stored.digest,
            "images": stored.images,
            "observer": stored.observer,
            "observers": stored.observers,
            "from": "images" if request.images else "calibration.npz",
        },
        "gates": [{"threshold": gate.threshold, "mean": gate.mean, "deviation": gate.deviation} for gate in manifest.gates],
        "policy": manifest.policy.name,
        "risk": manifest.calibration.risk,
        "exits": _with_former_key(stored.evidence),
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
