"""A policy as the manifest holds it: its name and numbers, and the gates' thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_runtime_app.bundle.manifest import PolicySpec
from tflite_runtime_app.policies import Always, ClassBased, Confidence, Lct, Never, Patience, Policy


def spec_of(policy: Policy, gates: int, offsets: Sequence[int]) -> tuple[PolicySpec, tuple[int, ...]]:
    """What `policy_from_manifest` makes this policy of again; gates that it does not ask never stop.

    `offsets`, by which the exits' thresholds differ, go with every policy: whoever refits thresholds needs them.
    """
    closed = (128,) * gates
    parameters = {f"offset_{k}": float(offset) for k, offset in enumerate(offsets)}
    if isinstance(policy, Lct):
        return PolicySpec(policy.name, parameters), policy.thresholds
    if isinstance(policy, ClassBased):
        return PolicySpec(policy.name, {str(label): value for label, value in enumerate(policy.thresholds)}), closed
    if isinstance(policy, Confidence):
        return PolicySpec(policy.name, {**parameters, "threshold": policy.threshold}), closed
    if isinstance(policy, Patience):
        return PolicySpec(policy.name, {**parameters, "in_a_row": float(policy.in_a_row)}), closed
    if isinstance(policy, Always):
        return PolicySpec(policy.name, {**parameters, "exit": float(policy.exit)}), closed
    assert isinstance(policy, Never)
    return PolicySpec(policy.name, parameters), closed
