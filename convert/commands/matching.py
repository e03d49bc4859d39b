"""The model that a bundle was built from, found again."""

from __future__ import annotations

from pathlib import Path

from convert.model.load import ClipModel, load_model, models_folder
from convert.support.errors import ModelError
from tflite_runtime_app.bundle.manifest import Manifest


def matching_model(manifest: Manifest, file: Path, model: str | None, pretrained: str | None, models: Path | None) -> ClipModel:
    """The model that the options name, by default the embedded one of the bundle's name; refused when its weights are others."""
    if model is None:
        known = manifest.name if (models_folder(models) / manifest.name).is_dir() else None
        if known is None:
            raise ModelError(
                f"{file} was built from {manifest.name}, which is not embedded; name the model with --model and --pretrained"
            )
        model = known
    loaded = load_model(model, pretrained, models)
    if loaded.weights_sha256 != manifest.weights_sha256:
        raise ModelError(
            f"{file} was built from weights {manifest.weights_sha256:.12}, {loaded.name} has {loaded.weights_sha256:.12}; "
            "name the right ones with --model and --pretrained"
        )
    return loaded
