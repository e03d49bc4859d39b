"""What a build is to make: the options of the command line, checked, and the model that they mean."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from calibration.choose import Aim
from calibration.families import DEFAULT, FAMILIES
from calibration.gates import KINDS
from calibration.observers import OBSERVERS
from calibration.probabilities import OPERATORS
from calibration.search import SEARCH
from convert.model.labels import read_label_list
from convert.model.load import ClipModel, load_model, models_folder
from convert.options import STREAMS, BuildOptions, ExitOptions
from convert.rewrites.recipe import Recipe, prefix
from convert.stages.cut import default_exits, split
from convert.support.errors import ModelError, UsageError
from convert.support.progress import Progress
from targets.profile import Profile
from targets.profile import load as load_profile
from tflite_runtime_app.bundle.manifest import FORMER_POLICIES
from tflite_runtime_app.text.label_list import LabelList


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is to make, every option checked and the model loaded.

    `images` empty: the model folder's calibration is used, and `photographs` are measured on.
    """

    model: ClipModel
    profile: Profile
    labels: LabelList
    exits: tuple[int, ...]
    images: tuple[Path, ...]
    photographs: Path | None
    recipe: Recipe
    seed: int
    in_order: bool = False  # images lie shuffled already and are cut as they come
    policy: str = DEFAULT
    aim: Aim = field(default_factory=Aim)
    gate: str | None = None


def make_request(options: BuildOptions, progress: Progress) -> Request:
    """The request that the options mean. Raises UsageError or ModelError for options that name nothing."""
    leaving = options.leaving
    policy = FORMER_POLICIES.get(leaving.policy, leaving.policy)
    _check_leaving(dataclasses.replace(leaving, policy=policy))
    profile = load_profile(options.target)
    recipe = _recipe(options, profile)
    asked = None if options.exits is None else parse_blocks(options.exits)
    for path in options.images:
        if not path.exists():
            raise UsageError(f"--images {path}: no such folder, tar file, zip file or image")
    model = load_model(options.model.model, options.model.pretrained, options.model.models)
    progress.step(f"model {model.name} loaded")
    for notice in model.notices:
        progress.step(notice)
    return Request(
        model=model,
        profile=profile,
        labels=read_label_list(options.labels, model),
        exits=resolve_exits(asked, model, profile),
        images=options.images,
        photographs=_photographs(options.model.models),
        recipe=recipe,
        seed=options.seed,
        in_order=options.in_order,
        policy=policy,
        aim=Aim(alpha=leaving.risk, budget=leaving.budget),
        gate=leaving.gate,
    )


def parse_blocks(text: str) -> tuple[int, ...]:
    """Numbers of blocks as in `4,6,8`. Raises UsageError for anything else."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--exits should be numbers of blocks as in 4,6,8; found {text!r}") from error


def resolve_exits(asked: tuple[int, ...] | None, model: ClipModel, profile: Profile) -> tuple[int, ...]:
    """Blocks done at each exit: those asked for, else those that the model has heads for, else the board's, else the default ones.

    Raises UsageError for impossible ones.
    """
    blocks = len(model.tower().blocks)
    exits = asked or tuple(sorted(model.heads)) or profile.exits_of(blocks) or default_exits(blocks)
    try:
        split(blocks, exits)
    except ValueError as error:
        raise UsageError(f"--exits: {error}") from error
    return exits


def _recipe(options: BuildOptions, profile: Profile) -> Recipe:
    recipe = prefix(options.ladder, profile.stream, not OPERATORS & set(profile.forbidden))
    if options.observer not in (None, *OBSERVERS, SEARCH):
        raise UsageError(f"--observer {options.observer!r} is none of {', '.join((*OBSERVERS, SEARCH))}")
    if options.stream not in (None, *STREAMS):
        raise UsageError(f"--stream {options.stream!r} is none of {', '.join(STREAMS)}")
    return dataclasses.replace(recipe, observer=options.observer or recipe.observer, stream=options.stream or recipe.stream)


def _photographs(models: Path | None) -> Path | None:
    """The photographs that the clone ships, None without it."""
    try:
        return models_folder(models) / "photographs"
    except ModelError:
        return None


def _check_leaving(leaving: ExitOptions) -> None:
    if leaving.policy not in FAMILIES:
        raise UsageError(f"--policy {leaving.policy!r} is none of {', '.join(FAMILIES)}")
    if leaving.gate not in (None, *KINDS):
        raise UsageError(f"--gate {leaving.gate!r} is none of {', '.join(KINDS)}")
    for name, value in (("--risk", leaving.risk), ("--budget", leaving.budget)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} is a share between 0 and 1, found {value}")
