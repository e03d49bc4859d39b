"""What belongs to a bundle, found again: the model that it was built from, and labels for it."""

from __future__ import annotations

from pathlib import Path

from convert.model.labels import embed_labels
from convert.model.load import ClipModel, load_model, models_folder
from convert.options import ModelOptions
from convert.support.errors import ModelError, UsageError
from convert.support.label_option import read_labels_of
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.text.label_list import LabelList


def matching_model(manifest: Manifest, file: Path, options: ModelOptions) -> ClipModel:
    """The model that the options name, by default the embedded one of the bundle's name; refused when its weights are others."""
    model = options.model
    if model is None:
        if not (models_folder(options.models) / manifest.name).is_dir():
            raise ModelError(
                f"{file} was built from {manifest.name}, which is not embedded; name the model with --model and --pretrained"
            )
        model = manifest.name
    loaded = load_model(model, options.pretrained, options.models)
    if loaded.weights_sha256 != manifest.weights_sha256:
        raise ModelError(
            f"{file} was built from weights {manifest.weights_sha256:.12}, {loaded.name} has {loaded.weights_sha256:.12}; "
            "name the right ones with --model and --pretrained"
        )
    return loaded


def matching_labels(bundle: Bundle, option: str | None, model: ClipModel) -> tuple[LabelList, LabelBank]:
    """The labels in the file that --labels names, without it the bundle's own; and the matrix to score with. Raises UsageError."""
    if option is None:
        if bundle.labels is None:
            raise UsageError("the bundle holds no labels; give --labels FILE")
        return LabelList(bundle.labels.names, bundle.labels.names), bundle.labels
    if not Path(option).is_file():
        raise UsageError(f"--labels {option}: no such file; one `id TAB names` a line is expected")
    listed = read_labels_of(option)
    return listed, embed_labels(listed, model)
