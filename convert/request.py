"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.label_files import LabelList
from convert.models import ClipModel
from convert.recipe import Recipe
from targets.profile import Profile


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `images` empty: the model folder's calibration is used and `photographs` are measured on."""

    model: ClipModel
    profile: Profile
    labels: LabelList
    exits: tuple[int, ...] | None
    images: tuple[Path, ...]
    photographs: Path | None
    recipe: Recipe
    seed: int
