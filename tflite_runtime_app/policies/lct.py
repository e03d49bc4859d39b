"""A threshold on the gate's score at each exit: layer-adaptive confidence thresholds, as the workshop chose them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


@dataclass(frozen=True, slots=True)
class Lct:
    """An image leaves where its gate's int8 score reaches that exit's threshold: -128 always, 128 never."""

    thresholds: tuple[int, ...]

    name: ClassVar[str] = "lct"
    needs_score: ClassVar[bool] = True

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        if score is None:
            raise ValueError(f"policy {self.name} needs the gate's score, found None; run the gate first")
        return score >= self.thresholds[exit]

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Self:
        """The thresholds are the gates' own."""
        if len(manifest.gates) != len(manifest.stages) - 1:
            raise BundleIncompatible(
                f"policy {cls.name} needs {len(manifest.stages) - 1} gates, the bundle has {len(manifest.gates)}; {BUILD_AGAIN}"
            )
        return cls(tuple(gate.threshold for gate in manifest.gates))


@dataclass(frozen=True, slots=True)
class LttLct(Lct):
    """The same decisions, by thresholds that Learn then Test let pass (`tflite_runtime_app/exits/risk.py`): what they cost is bounded."""

    name: ClassVar[str] = "ltt-lct"
