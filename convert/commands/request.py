"""From command-line options to a build request; shared by `build` and `calibrate`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from calibration.choose import Aim
from calibration.families import DEFAULT, FAMILIES
from calibration.gates import KINDS
from calibration.observers import OBSERVERS
from calibration.search import SEARCH
from convert.emit.integer import STREAMS
from convert.model.labels import read_label_list
from convert.model.load import load_model, models_folder
from convert.request import Request
from convert.rewrites.recipe import prefix
from convert.support.errors import ModelError, UsageError
from convert.support.progress import Progress
from targets.profile import load as load_profile
from tflite_runtime_app.bundle.manifest import FORMER_POLICIES
from tflite_runtime_app.exits.risk import ALPHA


@dataclass(frozen=True, slots=True)
class Leaving:
    """How images are to leave early: the policy's family, the bound on harm, the budget as a share of full MACs, the kind of gate."""

    policy: str = DEFAULT
    risk: float = ALPHA
    budget: float | None = None
    gate: str | None = None


def make_request(
    target: str,
    model: str | None,
    pretrained: str | None,
    images: tuple[Path, ...],
    labels: str | None,
    exits: str | None,
    observer: str | None,
    stream: str | None,
    seed: int,
    ladder: str | None,
    models: Path | None,
    progress: Progress,
    leaving: Leaving | None = None,
) -> Request:
    """The request, its model loaded. Raises UsageError or ModelError for options that name nothing."""
    wanted = leaving or Leaving()
    wanted = dataclasses.replace(wanted, policy=FORMER_POLICIES.get(wanted.policy, wanted.policy))
    _check(wanted)
    profile = load_profile(target)
    recipe = prefix(ladder, profile.stream)
    if observer not in (None, *OBSERVERS, SEARCH):
        raise UsageError(f"--observer {observer!r} is none of {', '.join((*OBSERVERS, SEARCH))}")
    if stream not in (None, *STREAMS):
        raise UsageError(f"--stream {stream!r} is none of {', '.join(STREAMS)}")
    try:
        blocks = None if exits is None else tuple(int(part) for part in exits.split(","))
    except ValueError as error:
        raise UsageError(f"--exits should be numbers of blocks as in 4,6,8; found {exits!r}") from error
    for path in images:
        if not path.exists():
            raise UsageError(f"--images {path}: no such folder, tar file or picture")
    loaded = load_model(model, pretrained, models)
    progress.step(f"model {loaded.name} loaded")
    try:
        photographs = models_folder(models) / "photographs"
    except ModelError:
        photographs = None
    return Request(
        loaded,
        profile,
        read_label_list(labels, loaded),
        blocks,
        images,
        photographs,
        dataclasses.replace(recipe, observer=observer or recipe.observer, stream=stream or recipe.stream),
        seed,
        wanted.policy,
        Aim(alpha=wanted.risk, budget=wanted.budget),
        wanted.gate,
    )


def _check(leaving: Leaving) -> None:
    if leaving.policy not in FAMILIES:
        raise UsageError(f"--policy {leaving.policy!r} is none of {', '.join(FAMILIES)}")
    if leaving.gate not in (None, *KINDS):
        raise UsageError(f"--gate {leaving.gate!r} is none of {', '.join(KINDS)}")
    for name, value in (("--risk", leaving.risk), ("--budget", leaving.budget)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} is a share between 0 and 1, found {value}")
