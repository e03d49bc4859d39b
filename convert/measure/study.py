"""All that is said of leaving early on some images: quadrants in float and in INT8, exits, curves, classes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import inr
from convert.measure import curves
from convert.measure.curves import Point
from convert.measure.quadrants import Quadrants, quadrants
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.exits.refit import offsets_of
from tflite_runtime_app.exits.replay import Replay, answers, observe
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.policies import policy_from_manifest


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: its images, the share that left at each stage, how many were rescued and harmed."""

    label: str
    images: int
    leaving: tuple[float, ...]
    rescued: int
    harmed: int


@dataclass(frozen=True, slots=True)
class ExitStudy:
    """What a bundle's own policy, every exit alone and every family of policies do with some images."""

    images: int
    labelled: bool
    policy: str
    blocks: tuple[int, ...]  # done at each stage
    ms: tuple[float, ...]  # until each stage, medians
    macs: tuple[int, ...]  # until each stage
    quadrants: dict[str, Quadrants] | None  # "int8" and "float"; None without labels
    changed: float  # share of answers that differ from full depth's
    leaving: tuple[float, ...]  # share of images that leave at each stage
    taken: Point
    exits: tuple[Point, ...]
    float_exits: tuple[Point, ...]
    curves: dict[str, list[Point]]  # of every family of policies
    inr: tuple[float, ...]
    classes: tuple[ClassRow, ...]
    rescued: tuple[int, ...]  # places of images
    harmed: tuple[int, ...]
    left: tuple[int, ...]  # the stage that each image left at

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return dataclasses.asdict(self)


def study(
    found: Replay,
    float_found: Replay,
    wanted: NDArray[np.int64] | None,
    cascade: Cascade,
    manifest: Manifest,
    bank: LabelBank,
) -> ExitStudy:
    """The study of images that went through the integer file and the float stages, `wanted` [n] their labels where they are known."""
    integer, exact = (
        observe(answers(part, bank, manifest.logit_scale), cascade, manifest, len(bank.names), wanted)
        for part in (found, float_found)
    )  # the same gates for both: only the tower differs
    policy = policy_from_manifest(manifest)
    left, float_left = integer.leaves(policy), exact.leaves(policy)
    until = tuple(float(np.median(found.ms[:, : k + 1].sum(1))) for k in range(len(manifest.stages)))
    known = wanted is not None
    return ExitStudy(
        images=len(integer),
        labelled=known,
        policy=manifest.policy.name,
        blocks=tuple(stage.blocks_done for stage in manifest.stages),
        ms=until,
        macs=integer.macs,
        quadrants={"int8": quadrants(integer, left), "float": quadrants(exact, float_left)} if known else None,
        changed=float(integer.changed(left).mean()),
        leaving=tuple(float((left == k).mean()) for k in range(len(manifest.stages))),
        taken=curves.point(integer, left, until),
        exits=tuple(curves.every_exit(integer, until)),
        float_exits=tuple(curves.every_exit(exact, until)),
        curves=curves.curves(integer, integer, offsets_of(manifest), until),
        inr=inr.information_to_noise(float_found.embeddings, found.embeddings, bank.vectors),
        classes=_per_class(integer, left, bank) if known else (),
        rescued=tuple(np.flatnonzero(integer.rescued(left)).tolist()),
        harmed=tuple(np.flatnonzero(integer.harmed(left)).tolist()) if known else (),
        left=tuple(left.tolist()),
    )


def _per_class(seen: Observed, left: NDArray[np.int64], bank: LabelBank) -> tuple[ClassRow, ...]:
    assert seen.wanted is not None
    rescued, harmed = seen.rescued(left), seen.harmed(left)
    rows = []
    for label, count in sorted(Counter(seen.wanted.tolist()).items()):
        mine = seen.wanted == label
        shares = tuple(float((left[mine] == k).mean()) for k in range(seen.exits + 1))
        rows.append(ClassRow(bank.names[label], count, shares, int(rescued[mine].sum()), int(harmed[mine].sum())))
    return tuple(rows)
