"""From command-line options to a build request; shared by `build` and `calibrate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from calibration.observers import OBSERVERS
from calibration.search import SEARCH
from convert.errors import ModelError, UsageError
from convert.integer import STREAMS
from convert.label_files import read_label_list
from convert.models import load_model, models_folder
from convert.progress import Progress
from convert.recipe import prefix
from convert.request import Request
from targets.profile import load as load_profile


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
) -> Request:
    """The request, its model loaded. Raises UsageError or ModelError for options that name nothing."""
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
    )
