"""Label lists as people write them: a file with one label a line, or names on the command line; and their vectors from the text tower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convert.model.load import ClipModel
from convert.support.errors import UsageError
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank

BATCH = 256
TEMPLATES = "templates.txt"  # in a model folder


@dataclass(frozen=True, slots=True)
class LabelList:
    """Names in order, and for each the ids that a picture's parent folder may bear: what stands before a TAB, else the name."""

    names: tuple[str, ...]
    ids: tuple[str, ...]  # several of a label are separated by commas

    def indices(self, folders: Sequence[str]) -> tuple[int, ...] | None:
        """The label of each picture by its folder's name; None unless every folder is a known id."""
        place = self.place
        found = tuple(place.get(folder, -1) for folder in folders)
        return found if found and -1 not in found else None

    def known(self, folders: Sequence[str]) -> list[int]:
        """The places of those pictures that show what a label names, by their folders' names.

        All of them where more than a tenth show something else: then folders are no ids.
        """
        place = self.place
        found = [number for number, folder in enumerate(folders) if folder in place]
        return found if 10 * len(found) >= 9 * len(folders) else list(range(len(folders)))

    @property
    def place(self) -> dict[str, int]:
        """The label of every known id, made anew by each call."""
        return {one.strip(): index for index, listed in enumerate(self.ids) for one in listed.split(",")}


def parse_labels(text: str) -> LabelList:
    """A label file's text: one label a line, `id TAB` or `id,id TAB` before it if it has some; of names with commas the first counts.

    A label with several ids is right for the pictures of each ("dog" for those of every breed).
    """
    names, ids = [], []
    for line in text.splitlines():
        identifier, tab, synonyms = line.rpartition("\t")
        name = synonyms.split(",")[0].strip()
        if name:
            names.append(name)
            ids.append(identifier.strip() if tab else name)
    return _checked(names, ids)


def named_places(labels: LabelList, folders: Sequence[str], progress: Progress) -> list[int]:
    """`labels.known`, and how many pictures are left aside is told."""
    places = labels.known(folders)
    if len(places) < len(folders):
        progress.step(f"{len(folders) - len(places)} pictures left aside: they show what no label names")
    return places


def imagenet_labels(folder: Path) -> LabelList:
    """ImageNet-1k's names as open_clip has them, for a validation folder with a folder per WordNet id: sorted ids are the label order.

    A folder of some of the classes needs the ids of all in a `wnids.txt`, one a line in label order. Raises UsageError unless there are a
    thousand.
    """
    from convert.model.torchvision_ops import open_clip

    listed = folder / "wnids.txt"
    ids = listed.read_text("utf-8").split() if listed.is_file() else sorted(p.name for p in folder.iterdir() if p.is_dir())
    names = tuple(open_clip.IMAGENET_CLASSNAMES)
    if len(ids) != len(names):
        raise UsageError(
            f"--imagenet {folder} holds {len(ids)} folders, expected one for each of {len(names)} WordNet ids, "
            "or a wnids.txt that lists them"
        )
    return LabelList(names, tuple(ids))


def read_label_list(option: str | None, model: ClipModel) -> LabelList:
    """The labels that --labels means: a file, or names separated by commas; without it the model folder's labels.txt."""
    if option is None:
        if model.folder is None or not (model.folder / "labels.txt").is_file():
            raise UsageError(f"{model.name} has no labels.txt of its own; give --labels FILE or --labels 'a, b, c'")
        return parse_labels((model.folder / "labels.txt").read_text("utf-8"))
    if _names_a_file(option):
        return parse_labels(Path(option).read_text("utf-8"))
    if option.endswith((".txt", ".tsv", ".csv")):
        raise UsageError(f"--labels {option}: no such file")
    names = [name.strip() for name in option.split(",") if name.strip()]
    return _checked(names, names)


def read_templates(model: ClipModel) -> tuple[str, ...]:
    """The model folder's templates.txt, for models without one open_clip's SIMPLE_IMAGENET_TEMPLATES."""
    if model.folder is not None and (model.folder / TEMPLATES).is_file():
        return parse_templates(model.folder / TEMPLATES)
    from convert.model.torchvision_ops import open_clip

    return tuple(template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES)


def parse_templates(path: Path) -> tuple[str, ...]:
    """A file of templates, one a line. Raises UsageError for a line without {}, and for a file without a line."""
    templates = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        raise UsageError(f"{path}: every line needs {{}} where the label goes; found {wrong or 'no line'}")
    return templates


def embed_labels(labels: LabelList, model: ClipModel) -> LabelBank:
    """The label matrix, in the model's own templates."""
    templates = read_templates(model)
    vectors = text_vectors(model.module, model.tokenizer, labels.names, templates).numpy()
    return LabelBank(vectors, labels.names, templates, model.space_id)


def text_vectors(module: Any, tokenizer: Any, names: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """Unit vectors [n, E]: the normalised mean, over templates, of the normalised text embeddings."""
    total = torch.zeros(len(names), 1)
    with torch.no_grad():
        for template in templates:
            sentences = [template.replace("{}", name) for name in names]
            parts = [module.encode_text(tokenizer(sentences[i : i + BATCH])) for i in range(0, len(sentences), BATCH)]
            total = total + torch.nn.functional.normalize(torch.cat(parts), dim=-1)
    return torch.nn.functional.normalize(total, dim=-1)


def _names_a_file(option: str) -> bool:
    try:
        return Path(option).is_file()
    except OSError:  # longer than a file name may be
        return False


def _checked(names: list[str], ids: list[str]) -> LabelList:
    if not names:
        raise UsageError("the label list is empty; give one label a line, or names separated by commas")
    single = [one.strip() for listed in ids for one in listed.split(",")]
    double = sorted({text for texts in (names, single) for text, count in Counter(texts).items() if count > 1})
    if double:
        raise UsageError(f"labels must differ from one another; given more than once: {', '.join(double[:5])}")
    return LabelList(tuple(names), tuple(ids))
