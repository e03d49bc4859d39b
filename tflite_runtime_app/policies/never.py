"""Every image goes through all stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Never:
    """Every image goes through all stages."""

    name: ClassVar[str] = "never"
    needs_score: ClassVar[bool] = False

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        return False

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Never:
        return cls()
