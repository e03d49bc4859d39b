"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calibration.choose import Aim
from calibration.families import DEFAULT
from convert.model.load import ClipModel
from convert.rewrites.recipe import Recipe
from targets.profile import Profile
from tflite_runtime_app.text.label_list import LabelList


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `images` empty: the model folder's calibration is used and `photographs` are measured on.

    `gate` is the kind of gate, None for the better one.
    """

    model: ClipModel
    profile: Profile
    labels: LabelList
    exits: tuple[int, ...] | None
    images: tuple[Path, ...]
    photographs: Path | None
    recipe: Recipe
    seed: int
    policy: str = DEFAULT
    aim: Aim = field(default_factory=Aim)
    gate: str | None = None
