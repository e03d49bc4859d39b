"""What the command line asks for, as it says it. Nothing heavy is imported here: `convert --help` must not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calibration.families import DEFAULT
from tflite_runtime_app.exits.risk import ALPHA

STREAMS = ("int8", "two_term")  # the residual streams that a bundle may have


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model: a folder or a name, a tag or file of its weights, the folder of embedded models; None for the defaults."""

    model: str | None = None
    pretrained: str | None = None
    models: Path | None = None


@dataclass(frozen=True, slots=True)
class ExitOptions:
    """How images are to leave early."""

    policy: str = DEFAULT
    risk: float = ALPHA  # share of images that leaving early may harm
    budget: float | None = None  # share of full depth's multiply-accumulates
    gate: str | None = None  # the kind of gate, None for the better one


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """A build as the command line asks for it; None stands for what model or target prefer."""

    model: ModelOptions = field(default_factory=ModelOptions)
    target: str = "rpi"
    images: tuple[Path, ...] = ()
    labels: str | None = None
    exits: str | None = None
    observer: str | None = None
    stream: str | None = None
    seed: int = 0
    in_order: bool = False  # images lie shuffled already and are cut as they come
    ladder: str | None = None  # the last step to take
    leaving: ExitOptions = field(default_factory=ExitOptions)
