"""Every image leaves at one exit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


@dataclass(frozen=True, slots=True)
class Always:
    """Every image leaves at the one stage `exit`."""

    exit: int

    name: ClassVar[str] = "always"
    needs_score: ClassVar[bool] = False

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        return exit == self.exit

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Always:
        """The stage is the policy's parameter `exit`."""
        wanted = manifest.policy.parameters.get("exit")
        if wanted is None or wanted not in range(len(manifest.stages)):
            raise BundleIncompatible(
                f"policy always needs a parameter exit from 0 to {len(manifest.stages) - 1}, found {wanted}; {BUILD_AGAIN}"
            )
        return cls(int(wanted))
