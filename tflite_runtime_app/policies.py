"""Exit policies: who decides, after each stage but the last, whether the answer is good enough to stop.

A new policy is one class with `name`, `needs_score`, `decide` and `from_manifest`, added to `POLICIES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy.typing as npt

from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.manifest import Manifest

_AGAIN = "build the bundle again with: convert build"


class Policy(Protocol):
    """What the cascade asks of a policy. `needs_score` tells whether the gates have to be run for it."""

    @property
    def needs_score(self) -> bool: ...

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        """True to stop at `exit` (stage index), False to go on.

        `features` float [3] are confidence, margin and variance, `score` the gate's int8 code (None unless `needs_score`),
        `top1` the index of the best label here, `history` those of the exits before, in order.
        """


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
                f"policy always needs a parameter exit from 0 to {len(manifest.stages) - 1}, found {wanted}; {_AGAIN}"
            )
        return cls(int(wanted))


@dataclass(frozen=True, slots=True)
class Confidence:
    """An image leaves where its gate's int8 score reaches that exit's threshold: -128 always, 128 never."""

    thresholds: tuple[int, ...]

    name: ClassVar[str] = "confidence"
    needs_score: ClassVar[bool] = True

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        if score is None:
            raise ValueError("policy confidence needs the gate's score, found None; run the gate first")
        return score >= self.thresholds[exit]

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Confidence:
        """The thresholds are the gates' own."""
        if len(manifest.gates) != len(manifest.stages) - 1:
            raise BundleIncompatible(
                f"policy confidence needs {len(manifest.stages) - 1} gates, the bundle has {len(manifest.gates)}; {_AGAIN}"
            )
        return cls(tuple(gate.threshold for gate in manifest.gates))


POLICIES: tuple[type[Never] | type[Always] | type[Confidence], ...] = (Never, Always, Confidence)


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
