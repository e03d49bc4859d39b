"""Exit policies: who decides, after each stage but the last, whether the answer is good enough to stop.

A new policy is one file with one class of `name`, `needs_score`, `decide` and `from_manifest`, added to `POLICIES`.
"""

from __future__ import annotations

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.policies.always import Always
from tflite_runtime_app.policies.base import Policy
from tflite_runtime_app.policies.class_based import ClassBased
from tflite_runtime_app.policies.confidence import Confidence
from tflite_runtime_app.policies.lct import Lct, LttLct
from tflite_runtime_app.policies.never import Never
from tflite_runtime_app.policies.patience import Patience

__all__ = [
    "POLICIES",
    "Always",
    "ClassBased",
    "Confidence",
    "Lct",
    "LttLct",
    "Never",
    "Patience",
    "Policy",
    "check_policy",
    "policy_from_manifest",
]

POLICIES = (Never, Always, Confidence, ClassBased, Patience, Lct, LttLct)


def policy_from_manifest(manifest: Manifest) -> Policy:
    """The policy that the bundle asks for. Raises BundleIncompatible for a name or parameters that this program does not know."""
    for kind in POLICIES:
        if kind.name == manifest.policy.name:
            return kind.from_manifest(manifest)
    known = ", ".join(kind.name for kind in POLICIES)
    raise BundleIncompatible(
        f"this program knows the policies {known}, the bundle asks for {manifest.policy.name!r}; "
        "install the version that built it"
    )


def check_policy(manifest: Manifest, labels: int | None) -> None:
    """Returns when the bundle's policy can be asked with its own `labels` (how many; None without any). Raises BundleIncompatible."""
    policy = policy_from_manifest(manifest)
    if isinstance(policy, ClassBased) and labels is not None and len(policy.thresholds) != labels:
        raise BundleIncompatible(
            f"policy class-based has {len(policy.thresholds)} thresholds for {labels} labels; build the bundle again with: convert build"
        )
