"""The same answer several times in a row (PABEE: Zhou et al., arXiv 2006.04152)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


@dataclass(frozen=True, slots=True)
class Patience:
    """An image leaves where the best label has been the same at `in_a_row` exits, this one included; no gate is run."""

    in_a_row: int

    name: ClassVar[str] = "patience"
    needs_score: ClassVar[bool] = False

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        before = self.in_a_row - 1
        return len(history) >= before and all(past == top1 for past in history[len(history) - before :])

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Patience:
        """The number is the policy's parameter `in_a_row`."""
        wanted = manifest.policy.parameters.get("in_a_row")
        if wanted is None or wanted < 1 or wanted != int(wanted):
            raise BundleIncompatible(f"policy patience needs a parameter in_a_row of 1 or more, found {wanted}; {BUILD_AGAIN}")
        return cls(int(wanted))
