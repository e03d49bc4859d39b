"""What --labels means on the workstation, and the labels' vectors from the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from convert.model.load import ClipModel
from convert.support.errors import ModelError, UsageError
from convert.support.label_option import as_usage_error, labels_of_option, read_labels_of
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank, read_labels, unprintable
from tflite_runtime_app.text.label_list import LabelList
from tflite_runtime_app.text.text_lines import read_lines

BATCH = 256
OWN = "everyday"  # the name of a model folder's labels.txt
TEMPLATES = "templates.txt"  # in a model folder
VECTORS = "labels.npz"  # in a model folder without a text tower


def named_places(labels: LabelList, folders: Sequence[str], progress: Progress) -> list[int]:
    """`labels.known`, and how many images are left aside is told."""
    places = labels.known(folders)
    if len(places) < len(folders):
        progress.step(f"{len(folders) - len(places)} images left aside: they show what no label names")
    return places


def imagenet_labels(folder: Path) -> LabelList:
    """ImageNet-1k's names as open_clip has them, for a validation folder with a folder per WordNet id: sorted ids are the label order.

    A folder of some of the classes needs the ids of all in a `wnids.txt`, one a line in label order. Raises UsageError unless there are a
    thousand.
    """
    from convert.model.torchvision_ops import open_clip

    listed = folder / "wnids.txt"
    ids = read_ids(listed) if listed.is_file() else sorted(p.name for p in folder.iterdir() if p.is_dir())
    names = tuple(open_clip.IMAGENET_CLASSNAMES)
    if len(ids) != len(names):
        raise UsageError(
            f"--imagenet {folder} holds {len(ids)} folders, expected one for each of {len(names)} WordNet ids, "
            "or a wnids.txt that lists them"
        )
    return LabelList(names, tuple(ids))


def read_ids(path: Path) -> list[str]:
    """The ids in a file, between blanks or lines, in the encodings of label files. Raises UsageError for another one."""
    with as_usage_error():
        return " ".join(read_lines(path, "a file of ids, one a line")[0]).split()


def read_label_list(option: str | None, model: ClipModel) -> LabelList:
    """The labels that --labels means: a list of the model's folder by its name, a file, or names separated by commas; without it the
    model folder's labels.txt."""
    if option is not None:
        path = named_list(option, model.folder) if model.folder is not None else None
        return labels_of_option(option) if path is None else read_labels_of(path)
    if model.folder is None or not (model.folder / "labels.txt").is_file():
        raise UsageError(f"{model.name} has no labels.txt of its own; give --labels FILE or --labels 'a, b, c'")
    return read_labels_of(model.folder / "labels.txt")


def named_list(name: str, folder: Path) -> Path | None:
    """The list of that name in a model folder: labels.txt is `everyday`, labels-NAME.txt any other; None where there is none."""
    if not name.isidentifier():
        return None
    path = folder / ("labels.txt" if name == OWN else f"labels-{name}.txt")
    return path if path.is_file() else None


def read_templates(model: ClipModel) -> tuple[str, ...]:
    """The model folder's templates.txt, for models without one open_clip's SIMPLE_IMAGENET_TEMPLATES."""
    if model.folder is not None and (model.folder / TEMPLATES).is_file():
        return parse_templates(model.folder / TEMPLATES)
    from convert.model.torchvision_ops import open_clip

    return tuple(template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES)


def parse_templates(path: Path) -> tuple[str, ...]:
    """A file of templates, one a line, in the encodings of label files. Raises UsageError for a line without {}, or no line at all."""
    with as_usage_error():
        lines, encoding = read_lines(path, "a file of templates, one a line")
    templates = tuple(line.strip() for line in lines if line.strip())
    for template in templates:
        if odd := unprintable(template):
            raise UsageError(f"{path} ({encoding}): expected printable characters, found U+{ord(odd):04X} in {template[:40]!r}")
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        raise UsageError(f"{path}: every line needs {{}} where the label goes; found {wrong or 'no line'}")
    return templates


def embed_labels(labels: LabelList, model: ClipModel) -> LabelBank:
    """The label matrix, in the model's own templates; for a model without a text tower's weights, from its folder's labels.npz.

    Raises ModelError where there is neither, UsageError for a label that the folder has no vector for.
    """
    if not model.text and model.folder is not None and (model.folder / VECTORS).is_file():
        return _known_vectors(labels, model.folder / VECTORS, model.space_id)
    refuse_without_text(model)
    templates = read_templates(model)
    vectors = text_vectors(model.module, model.tokenizer, labels.names, templates).numpy()
    return LabelBank(vectors, labels.names, templates, model.space_id)


def _known_vectors(labels: LabelList, file: Path, space_id: str) -> LabelBank:
    """The rows of these labels in a model folder's own label matrix, as a classifier has it."""
    with as_usage_error():
        bank = read_labels(file)
    if bank.space_id != space_id:
        raise ModelError(f"{file} was made for space {bank.space_id:.12}, the weights beside it are space {space_id:.12}")
    place = {name: row for row, name in enumerate(bank.names)}
    unknown = next((name for name in labels.names if name not in place), None)
    if unknown is not None:
        raise UsageError(
            f"no vector for the label {unknown!r}: the model has no text tower, and {file} knows {len(place)} names; choose among these"
        )
    return LabelBank(bank.vectors[[place[name] for name in labels.names]], labels.names, bank.templates, space_id)


def refuse_without_text(model: ClipModel) -> None:
    """Raise ModelError where the model's weights held the image tower alone."""
    if not model.text:
        raise ModelError(
            f"the weights of {model.name} hold the image tower alone, and label vectors need the text tower too; "
            "give weights of the whole model with --pretrained"
        )


def text_vectors(module: Any, tokenizer: Any, names: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """Unit vectors [n, E]: the normalised mean, over templates, of the normalised text embeddings."""
    total = torch.zeros(len(names), 1)
    with torch.no_grad():
        for template in templates:
            sentences = [template.replace("{}", name) for name in names]
            parts = [module.encode_text(tokenizer(sentences[i : i + BATCH])) for i in range(0, len(sentences), BATCH)]
            total = total + torch.nn.functional.normalize(torch.cat(parts), dim=-1)
    return torch.nn.functional.normalize(total, dim=-1)
