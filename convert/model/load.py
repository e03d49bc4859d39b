"""Finding and loading CLIP models through open_clip's own API: the embedded ones, open_clip's by name, weights from a file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convert.model import head_files as heads
from convert.model.create import CONFIG, FOLDER, HUB, RANDOM, create
from convert.model.tower import Head, Tower, tower_from_open_clip
from convert.support.errors import ModelError
from convert.support.quiet import quiet
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import in_one_line

DEFAULT_MODEL = "pocket"
ENVIRONMENT = "CLIP_RESCUE_MODELS"


@dataclass(frozen=True, slots=True)
class ClipModel:
    """A loaded model. `folder` is its model folder, None for one of open_clip's; `space_id` identifies its embedding space.

    `heads` are the exits' own, by blocks done; `weights_sha256` is theirs too. Without `text` the weights held the image tower alone, and
    there are no label vectors. `notices` say what the user should know of the weights.
    """

    name: str
    folder: Path | None
    module: Any
    tokenizer: Any
    preprocessing: Preprocessing
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    logit_scale: float
    weights_sha256: str
    space_id: str
    heads: Mapping[int, Head] = field(default_factory=dict)
    text: bool = True
    notices: tuple[str, ...] = ()

    def tower(self) -> Tower:
        """The image tower as data, with the exits' own heads. Raises UnsupportedTower naming what cannot be converted."""
        return dataclasses.replace(self.tower_without_heads(), exit_heads=self.heads)

    def tower_without_heads(self) -> Tower:
        """The image tower as open_clip has it. Raises UnsupportedTower naming what cannot be converted."""
        return tower_from_open_clip(self.module.visual, self.mean, self.deviation)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """open_clip's own embedding of pixels [n, H, W, 3] in 0..1: the reference for everything here."""
        mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (self.mean, self.deviation))
        with torch.no_grad():
            embedding: torch.Tensor = self.module.encode_image((pixels.permute(0, 3, 1, 2) - mean) / deviation)
        return embedding


def models_folder(option: Path | None) -> Path:
    """Where the embedded models are: --models, else CLIP_RESCUE_MODELS, else the clone that `convert` was installed from."""
    if option is not None:
        return _existing(option, "--models")
    if ENVIRONMENT in os.environ:
        return _existing(Path(os.environ[ENVIRONMENT]), ENVIRONMENT)
    clone = Path(__file__).resolve().parents[2] / "models"
    if clone.is_dir():
        return clone
    raise ModelError(
        "the embedded models are not here: convert was installed without its clone; name their folder with --models DIR "
        f"or {ENVIRONMENT}, or another model with --model"
    )


def load_model(model: str | None, pretrained: str | None, models: Path | None, with_heads: bool = True) -> ClipModel:
    """The model that the options name; without `model` the embedded default. Raises ModelError or UsageError with the remedy.

    Without `with_heads` what the exits have of their own is not read: who makes it anew need not be able to. A tower that cannot be
    converted is refused (UnsupportedTower) before any weight is fetched.
    """
    model = None if model is None else model.removeprefix(FOLDER)
    folder = _model_folder(model, models)
    with quiet():
        from convert.model.torchvision_ops import open_clip
    if folder is not None:
        identifier, name = f"{FOLDER}{folder}", folder.resolve().name
    else:
        assert model is not None
        plain = model.rpartition("/")[2] if model.startswith(HUB) else model
        identifier, name = model, plain if pretrained in (None, RANDOM) else f"{plain}-{Path(str(pretrained)).stem}"
    created = create(identifier, pretrained)
    module = created.module
    tokenizer = _tokenizer(open_clip, identifier)
    settings = open_clip.get_model_preprocess_cfg(module)
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size
    digest = _digest(module, created.text)
    own = read_heads(folder, module) if with_heads else {}
    return ClipModel(
        name=name,
        folder=folder,
        module=module,
        tokenizer=tokenizer,
        preprocessing=Preprocessing(int(height), int(width), settings["resize_mode"], settings["interpolation"]),
        mean=tuple(settings["mean"]),
        deviation=tuple(settings["std"]),
        logit_scale=float(module.logit_scale.detach().exp()),
        weights_sha256=hashlib.sha256(f"{digest} {heads.digest(own)}".encode()).hexdigest() if own else digest,
        heads=own,
        space_id=hashlib.sha256(f"space {digest}".encode()).hexdigest()[:16],
        text=created.text,
        notices=created.notices,
    )


def read_heads(folder: Path | None, module: Any) -> dict[int, Head]:
    """The exits' own heads in a model folder."""
    width, embedding = getattr(module.visual, "proj", torch.zeros(0, 0)).shape if folder is not None else (0, 0)
    return heads.read(folder, int(width), int(embedding))


def _existing(folder: Path, origin: str) -> Path:
    if not folder.is_dir():
        raise ModelError(f"{origin} names {folder}, which is no folder; give one that holds model folders ({CONFIG} in each)")
    return folder


def _model_folder(model: str | None, models: Path | None) -> Path | None:
    """The model folder that `model` means, None when it is a name of open_clip's."""
    if model is not None and model.startswith(HUB):
        return None
    if model is not None and (Path(model) / CONFIG).is_file():
        return Path(model)
    if model is not None and Path(model).is_dir():
        config = Path(model) / "config.json"
        theirs = ", but a config.json, as transformers saves" if config.is_file() else ""
        raise ModelError(f"{model} is no model folder: it has no {CONFIG}{theirs}; put open_clip's {CONFIG} into it")
    try:
        candidate = models_folder(models) / (model or DEFAULT_MODEL)
    except ModelError:
        if model is None or models is not None:
            raise
        return None
    if (candidate / CONFIG).is_file():
        return candidate
    if model is None:
        raise ModelError(
            f"the default model is not in {candidate.parent}: expected {DEFAULT_MODEL}/{CONFIG}; name another with --model"
        )
    return None


def _tokenizer(open_clip: Any, identifier: str) -> Any:
    """The text tower's tokenizer; some come from a model hub."""
    try:
        with quiet():
            return open_clip.get_tokenizer(identifier)
    except Exception as error:  # the hub's library and its own files, of many kinds
        raise ModelError(
            f"could not load the tokenizer of {identifier}: {in_one_line(error)}; where no hub is reachable, "
            "put its files into a model folder and give that with --model"
        ) from error


def _digest(module: Any, text: bool) -> str:
    """sha256 over names, shapes and float32 values of all weights, however they were stored; of the image tower's without `text`."""
    digest = hashlib.sha256()
    weights = {name: value for name, value in module.state_dict().items() if text or name.startswith("visual.")}
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
