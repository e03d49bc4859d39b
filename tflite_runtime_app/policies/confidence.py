"""One threshold on the confidence itself, the same at every exit: what early exits started with (BranchyNet, arXiv 1709.01686)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


@dataclass(frozen=True, slots=True)
class Confidence:
    """An image leaves at the first exit where the best label's probability reaches `threshold`; no gate is run."""

    threshold: float

    name: ClassVar[str] = "confidence"
    needs_score: ClassVar[bool] = False

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        return float(features[0]) >= self.threshold

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Confidence:
        """The threshold is the policy's parameter `threshold`."""
        wanted = manifest.policy.parameters.get("threshold")
        if wanted is None:
            raise BundleIncompatible(f"policy confidence needs a parameter threshold, found none; {BUILD_AGAIN}")
        return cls(wanted)
