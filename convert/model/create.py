"""open_clip's module with its weights: from a model folder, the hub or a name of open_clip's, and from whatever file people have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.model import head_files
from convert.model.supported import refuse_configuration
from convert.model.weights import gelu
from convert.model.weights.fitting import put_into, refuse_not_finite
from convert.model.weights.reading import read
from convert.model.weights.unwrapping import weights_in
from convert.support.errors import ModelError, UsageError
from convert.support.quiet import quiet
from tflite_runtime_app.errors import in_one_line

CONFIG = "open_clip_config.json"
RANDOM = "random"  # --pretrained random: an untrained network, to try out a conversion
FOLDER, HUB = "local-dir:", "hf-hub:"  # how open_clip tells a model folder and a model of the hub from its own names
WEIGHTS = "open_clip_model.safetensors"


@dataclass(frozen=True, slots=True)
class Created:
    """The module in evaluation mode. `text` says whether its text tower has weights; `notices` are for the user."""

    module: Any
    text: bool = True
    notices: tuple[str, ...] = ()


def create(identifier: str, pretrained: str | None) -> Created:
    """The module that open_clip's identifier means, with finite weights. Raises ModelError or UsageError with the remedy.

    `pretrained` is a tag, a file or RANDOM, None for the weights that folder or hub have themselves. A tower that cannot be converted is
    refused (UnsupportedTower) before any weight is fetched.
    """
    from convert.model.torchvision_ops import open_clip

    tag = open_clip.get_pretrained_cfg(identifier, pretrained or "") or {}
    _check_names(open_clip, identifier, pretrained, bool(tag))
    quick = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
    try:
        with quiet():
            settings = open_clip.get_model_config(identifier)
        refuse_configuration(settings)
        file = None if tag or pretrained == RANDOM else _weight_file(open_clip, identifier, pretrained)
        with quiet():
            module = open_clip.create_model(
                identifier,
                pretrained=pretrained if tag else None,
                load_weights=bool(tag),
                require_pretrained=bool(tag),
                pretrained_text=False,
                **quick,
            )
    except ModelError:
        raise
    except Exception as error:  # open_clip, its hub and torch raise many kinds; all mean that there is no model
        raise ModelError(
            f"could not load {_told(identifier, pretrained)}: {in_one_line(error)}{_hint(identifier, tag)}"
        ) from error
    module.eval()
    if file is not None:
        text, notices = _load(module, file, identifier, bool(settings.get("quick_gelu")))
        return Created(module, text, notices)
    refuse_not_finite(module.state_dict(), _told(identifier, pretrained))
    if quick and not settings.get("quick_gelu"):
        return Created(module, True, (f"the weights {pretrained} are of quick GELU: the model is {identifier}{gelu.QUICK}",))
    return Created(module)


def _check_names(open_clip: Any, identifier: str, pretrained: str | None, tag: bool) -> None:
    """Raise UsageError for a model or weights that there are not."""
    given = pretrained is not None and pretrained != RANDOM and not tag
    if identifier.startswith(HUB):
        owner, _, name = identifier.removeprefix(HUB).partition("/")
        if not owner or not name or "/" in name:
            raise UsageError(f"--model {identifier}: expected hf-hub:ORGANISATION/NAME")
    elif not identifier.startswith(FOLDER):
        if identifier not in open_clip.list_models():
            raise UsageError(
                f"no model {identifier!r}: neither a folder with {CONFIG}, nor embedded, nor one of open_clip.list_models(), "
                f"nor {HUB}ORGANISATION/NAME"
            )
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(identifier)) or "none"
        if pretrained is None:
            raise UsageError(
                f"--model {identifier} needs --pretrained TAG|FILE; its tags: {tags}; or {RANDOM} for an untrained one"
            )
        if given and not Path(pretrained).exists():
            models = open_clip.list_pretrained_models_by_tag(pretrained)
            others = f"; the tag is one of {', '.join(models)}" if models else ""
            raise UsageError(f"--pretrained {pretrained}: no such file, and no tag of {identifier}; its tags: {tags}{others}")
    if given and Path(str(pretrained)).is_dir():
        raise UsageError(f"--pretrained {pretrained} is a folder; give the weight file in it, or a model folder with --model")
    if given and not Path(str(pretrained)).is_file():
        raise UsageError(f"--pretrained {pretrained}: no such file; with a model folder it must be a weight file")


def _weight_file(open_clip: Any, identifier: str, pretrained: str | None) -> Path:
    """The file that holds the weights, fetched where it is the hub's."""
    if pretrained is not None:
        return Path(pretrained)
    if identifier.startswith(HUB):
        with quiet():
            return Path(open_clip.pretrained.download_pretrained_from_hf(identifier.removeprefix(HUB)))
    folder = Path(identifier.removeprefix(FOLDER))
    with quiet():
        found = open_clip.factory._find_checkpoint_in_dir(folder)
    if found is None or Path(found).name == head_files.FILE:
        raise ModelError(
            f"{folder} holds no weights: expected {WEIGHTS} beside {CONFIG}; put it there, or name a file with --pretrained"
        )
    return Path(found)


def _load(module: Any, file: Path, identifier: str, quick: bool) -> tuple[bool, tuple[str, ...]]:
    """The module holds the file's weights; whether its text tower does, and what the user should know."""
    try:
        with quiet():
            stored = read(file)
        told = _gelu_told(file, stored.gelu or gelu.beside(file, CONFIG), identifier, quick)
        found = weights_in(stored.content)
        with quiet():
            text = put_into(module, found.weights)
    except ValueError as error:
        raise ModelError(f"could not load weights {file}: {in_one_line(error, 700)}") from error
    except RuntimeError as error:
        raise ModelError(f"could not load weights {file}: {in_one_line(error)}; give weights of the whole model") from error
    refuse_not_finite(module.state_dict(), str(file))  # here numbers too large for float32 are infinite too
    return text, (*told, *found.notices)


def _gelu_told(file: Path, known: gelu.Known | None, identifier: str, quick: bool) -> tuple[str, ...]:
    """A sentence where the weights' GELU seems not to be the model's. Raises ModelError where that is certain."""
    if known is None or known.quick == quick:
        return ()
    name = identifier.removeprefix(FOLDER)
    told = f"{file} holds weights of {gelu.KINDS[known.quick]}, as {known.by} says, and {name} has {gelu.KINDS[quick]}"
    if known.certain:
        raise ModelError(f"{told}; {gelu.right_model(identifier, known.quick)}")
    return (f"{told}; if that is so, {gelu.right_model(identifier, known.quick)}",)


def _told(identifier: str, pretrained: str | None) -> str:
    return f"{identifier.removeprefix(FOLDER)} with " + ("its own weights" if pretrained is None else f"weights {pretrained}")


def _hint(identifier: str, tag: bool | dict[str, Any]) -> str:
    """What to do where no hub is reachable."""
    if identifier.startswith(HUB):
        return f"; where the hub is not reachable, put its {CONFIG} and weights into a folder and give that with --model FOLDER"
    return (
        "; where no hub is reachable, fetch the weights elsewhere and give --pretrained path/to/weights.safetensors"
        if tag
        else ""
    )
