"""A threshold on the confidence for each predicted class (CBT: Görmez and Koyuncu, arXiv 2210.15621)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


@dataclass(frozen=True, slots=True)
class ClassBased:
    """An image leaves where its confidence reaches the threshold of the label that is best there; no gate is run."""

    thresholds: tuple[float, ...]

    name: ClassVar[str] = "class-based"
    needs_score: ClassVar[bool] = False

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        return float(features[0]) >= self.thresholds[top1]

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> ClassBased:
        """The thresholds are the parameters `0`, `1`, … in the order of the labels."""
        given = manifest.policy.parameters
        names = [str(label) for label in range(len(given))]
        if not given or set(names) != set(given):
            raise BundleIncompatible(
                f"policy class-based needs a parameter for each label, 0, 1, …, found {len(given)}; {BUILD_AGAIN}"
            )
        return cls(tuple(given[name] for name in names))
