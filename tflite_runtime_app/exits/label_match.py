"""Exits and "none of these" hold for the labels that they were fitted on; with others, every image goes to full depth.

Confidence depends on how many labels there are and how alike they are: five names give a sharper softmax than two hundred, and a
threshold fitted on one list means nothing on the other.
"""

from __future__ import annotations

import dataclasses

from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest, PolicySpec
from tflite_runtime_app.policies import ClassBased


def labels_digest(names: tuple[str, ...]) -> str:
    """What identifies a list of labels, in order."""
    return sha256_hex("\n".join(names).encode())


def labels_match(manifest: Manifest, bank: LabelBank) -> bool:
    """Whether the manifest's thresholds were fitted on these labels; a manifest that does not say is taken at its word.

    But a threshold for each label is for as many labels as there are thresholds.
    """
    if manifest.policy.name == ClassBased.name and len(manifest.policy.parameters) != len(bank.names):
        return False
    return manifest.calibration.labels in ("", labels_digest(bank.names))


def for_labels(manifest: Manifest, bank: LabelBank) -> Manifest:
    """The manifest as it may be used with these labels: with others than its own no image exits early and none is "none of these"."""
    if labels_match(manifest, bank):
        return manifest
    from tflite_runtime_app.exits.thresholds import NEVER  # late: a bundle's own labels do without what fits thresholds

    gates = tuple(dataclasses.replace(gate, threshold=NEVER) for gate in manifest.gates)
    return dataclasses.replace(manifest, gates=gates, policy=PolicySpec("never"), none_threshold=-1.0)
