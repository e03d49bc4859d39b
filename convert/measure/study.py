"""All that is said about a bundle on some images, as plain data: quadrants in float and in INT8, exits, curves, classes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import inr
from convert.measure import curves
from convert.measure.quadrants import quadrants
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.refit import offsets_of
from tflite_runtime_app.exits.replay import Replay, answers, observe
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.policies import policy_from_manifest


def study(
    found: Replay,
    float_found: Replay,
    wanted: NDArray[np.int64] | None,
    cascade: Cascade,
    manifest: Manifest,
    bank: LabelBank,
) -> dict[str, Any]:
    """The figures of a bundle's own policy, of every exit alone and of every family of policies, on these images."""
    integer, exact = (
        observe(answers(part, bank, manifest.logit_scale), cascade, manifest, len(bank.names), wanted)
        for part in (found, float_found)
    )  # the same gates for both: only the tower differs
    policy = policy_from_manifest(manifest)
    left, float_left = integer.leaves(policy), exact.leaves(policy)
    until = [float(np.median(found.ms[:, : k + 1].sum(1))) for k in range(len(manifest.stages))]
    known = wanted is not None
    return {
        "images": len(integer),
        "labelled": known,
        "policy": manifest.policy.name,
        "blocks": [stage.blocks_done for stage in manifest.stages],
        "ms": until,
        "macs": list(integer.macs),
        "quadrants": {
            "int8": dataclasses.asdict(quadrants(integer, left)),
            "float": dataclasses.asdict(quadrants(exact, float_left)),
        }
        if known
        else None,
        "changed": float(integer.changed(left).mean()),
        "leaving": [float((left == k).mean()) for k in range(len(manifest.stages))],
        "taken": dataclasses.asdict(curves.point(integer, left, until)),
        "exits": [dataclasses.asdict(point) for point in curves.every_exit(integer, until)],
        "float_exits": [dataclasses.asdict(point) for point in curves.every_exit(exact, until)],
        "curves": {
            name: [dataclasses.asdict(point) for point in points]
            for name, points in curves.curves(integer, integer, offsets_of(manifest), until).items()
        },
        "inr": list(inr.information_to_noise(float_found.embeddings, found.embeddings, bank.vectors)),
        "classes": _per_class(integer, left, bank) if known else [],
        "rescued": np.flatnonzero(integer.rescued(left)).tolist(),
        "harmed": np.flatnonzero(integer.harmed(left)).tolist() if known else [],
        "left": left.tolist(),
    }


def _per_class(seen: Observed, left: NDArray[np.int64], bank: LabelBank) -> list[dict[str, Any]]:
    """Of every class: images, the share that left at each stage, rescued and harmed."""
    assert seen.wanted is not None
    rescued, harmed = seen.rescued(left), seen.harmed(left)
    rows = []
    for label, count in sorted(Counter(seen.wanted.tolist()).items()):
        mine = seen.wanted == label
        rows.append(
            {
                "label": bank.names[label],
                "images": count,
                "leaving": [float((left[mine] == k).mean()) for k in range(seen.exits + 1)],
                "rescued": int(rescued[mine].sum()),
                "harmed": int(harmed[mine].sum()),
            }
        )
    return rows
