"""Exits fitted anew on the board, for other labels or for the images of its own camera, without a right answer being known.

Each gate is standardised by what the first quarter of the images shows under these labels; Learn then Test walks the thresholds on the rest
(`thresholds.py`, `risk.py`). The loss is the one that needs no labels: an answer that differs from full depth's. A rescue counts as a loss,
so fewer images leave than with known labels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.calibration_outputs import Remembered
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest, PolicySpec
from tflite_runtime_app.exits.label_match import for_labels, labels_digest, labels_match
from tflite_runtime_app.exits.replay import Answers, Replay, answers, observe, replayed
from tflite_runtime_app.exits.risk import ALPHA, DELTA, Bound
from tflite_runtime_app.exits.thresholds import NEVER, bounded, family
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.policies import Never

STANDARD = 4  # the first of so many parts gives mean and deviation
SMALLEST_DEVIATION = 1e-6


def for_other_labels(cascade: Cascade, manifest: Manifest, memory: Remembered | None, bank: LabelBank) -> tuple[Manifest, str]:
    """The manifest as it may be used with these labels, and a sentence on what became of the exits; empty for the bundle's own labels."""
    if labels_match(manifest, bank):
        return manifest, ""
    said = "the exits were fitted for other labels"
    if (
        memory is None or not manifest.gates or manifest.policy.name == Never.name
    ):  # who wants no exit gets none with other labels
        return for_labels(manifest, bank), f"{said}; every image goes to full depth"
    risk = manifest.calibration.risk
    alpha, delta = risk.get("alpha", ALPHA), risk.get("delta", DELTA)
    fitted, bound = refit(cascade, manifest, replayed(memory, manifest), bank, alpha, delta)
    if bound.kept < 0:
        return fitted, f"{said}; under these no exit is safe, every image goes to full depth"
    return (
        fitted,
        f"{said}; they now change {bound.losses} of the answers to {bound.images} calibration images, at most {alpha:.1%}",
    )


def refit(
    cascade: Cascade, manifest: Manifest, seen: Replay, bank: LabelBank, alpha: float, delta: float
) -> tuple[Manifest, Bound]:
    """The manifest with thresholds for these labels and images, and the bound; where none holds, every image goes to full depth."""
    found = answers(seen, bank, manifest.logit_scale)
    first = max(len(found.top1) // STANDARD, 1)
    standardised = standardise(manifest, found.features[:first])
    rest = Answers(found.top1[first:], found.cosine[first:], found.features[first:])
    observed = observe(rest, cascade, standardised, len(bank.names))
    policies = family(offsets_of(manifest))
    bound = bounded(observed, policies, alpha, delta)
    thresholds = policies[bound.kept].thresholds if bound.kept >= 0 else (NEVER,) * len(manifest.gates)
    gates = tuple(
        dataclasses.replace(gate, threshold=threshold) for gate, threshold in zip(standardised.gates, thresholds, strict=True)
    )
    policy = PolicySpec("ltt-lct" if bound.kept >= 0 else "never", manifest.policy.parameters)
    calibration = dataclasses.replace(manifest.calibration, labels=labels_digest(bank.names), risk=facts(bound, label_free=True))
    fitted = dataclasses.replace(standardised, gates=gates, policy=policy, calibration=calibration)
    return fitted if labels_digest(bank.names) == manifest.calibration.labels else dataclasses.replace(
        fitted, none_threshold=-1.0
    ), bound


def standardise(manifest: Manifest, features: npt.NDArray[np.float32]) -> Manifest:
    """The manifest whose gates are standardised by these features [n, exits, 3]."""
    gates = tuple(
        dataclasses.replace(
            gate,
            mean=tuple(float(v) for v in features[:, k].mean(0)),
            deviation=tuple(float(v) for v in np.maximum(features[:, k].std(0), SMALLEST_DEVIATION)),
        )
        for k, gate in enumerate(manifest.gates)
    )
    return dataclasses.replace(manifest, gates=gates)


def offsets_of(manifest: Manifest) -> tuple[int, ...]:
    """The exits' offsets, which the workshop fitted; 0 where it says nothing."""
    return tuple(int(manifest.policy.parameters.get(f"offset_{k}", 0)) for k in range(len(manifest.gates)))


def facts(bound: Bound, label_free: bool) -> dict[str, float]:
    """The bound as numbers for the manifest."""
    return {
        "alpha": bound.alpha,
        "delta": bound.delta,
        "images": float(bound.images),
        "losses": float(bound.losses),
        "risk": bound.risk,
        "tested": float(bound.tested),
        "passed": float(bound.kept + 1),
        "label_free": float(label_free),
    }
