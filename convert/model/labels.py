"""What --labels means on the workstation, and the labels' vectors from the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convert.model.load import ClipModel
from convert.support.errors import ModelError, UsageError
from convert.support.label_option import as_usage_error, labels_of_option, read_labels_of
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank, read_labels, unprintable
from tflite_runtime_app.text.label_list import LabelList
from tflite_runtime_app.text.ready import Ready
from tflite_runtime_app.text.text_lines import read_lines

BATCH = 256
OWN = "everyday"  # the name of a model folder's labels.txt
TEMPLATES = "templates.txt"  # in a model folder
VECTORS = "labels.npz"  # in a model folder: vectors of names that stand for themselves


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
    """The label matrix, in the model's own templates: what its folder's labels.npz knows as it stands there, other names by the text tower.

    Raises ModelError where there is neither, UsageError for a label that the folder has no vector for where there is no text tower.
    """
    return bank_of(labels.names, model, read_templates(model))


def bank_of(names: tuple[str, ...], model: ClipModel, templates: tuple[str, ...]) -> LabelBank:
    """The same for names and templates. Raises as `embed_labels`."""
    known = _known_vectors(model)
    if known is None:
        refuse_without_text(model)
        return LabelBank(text_vectors(model.module, model.tokenizer, names, templates).numpy(), names, templates, model.space_id)
    ready = Ready(known)
    rows = {name: row for name in names if (row := ready.row(name)) is not None}
    missing = tuple(name for name in names if name not in rows)
    if missing and not model.text:
        raise UsageError(
            f"no vector for the label {missing[0]!r}: the model has no text tower, and its {VECTORS} knows {len(known.names)} names; "
            "choose among these"
        )
    found = np.empty((len(names), known.vectors.shape[1]), np.float32)
    place = {name: number for number, name in enumerate(names)}
    found[[place[name] for name in rows]] = known.vectors[list(rows.values())]
    if missing:
        found[[place[name] for name in missing]] = text_vectors(model.module, model.tokenizer, missing, templates).numpy()
    return LabelBank(found, names, known.templates, model.space_id)


def _known_vectors(model: ClipModel) -> LabelBank | None:
    """The vectors that a model's folder has of names, as a classifier has them of its classes; None without."""
    file = model.folder / VECTORS if model.folder is not None else None
    if file is None or not file.is_file():
        return None
    with as_usage_error():
        bank = read_labels(file)
    if bank.space_id != model.space_id:
        raise ModelError(
            f"{file} was made for space {bank.space_id:.12}, the weights beside it are space {model.space_id:.12}; take it away, or "
            "bring the one that belongs to them"
        )
    return bank


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
