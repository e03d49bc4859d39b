"""Does a text tower's file say what float says? Sentences of the model's own labels through the board's half, beside open_clip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from convert.model.labels import BATCH, read_label_list, read_templates
from convert.model.load import ClipModel
from tflite_runtime_app.text.file import TextFile
from tflite_runtime_app.text.tower import TextTower

SENTENCES = 300
LONG = 40  # names in a sentence that fills, or overflows, the longest context


@dataclass(frozen=True, slots=True)
class Check:
    """How near a file with these weights comes to float: the least and the mean cosine over the sentences; its size, and the time it took.

    `size` in bytes, `milliseconds` the median of a sentence on this machine, one thread.
    """

    weights: str
    sentences: int
    least: float
    mean: float
    size: int
    milliseconds: float

    def words(self) -> str:
        """The check as a line for people."""
        return (
            f"text tower with {self.weights} weights: {self.size / 1e6:.1f} MB, cosine with float at least {self.least:.5f} "
            f"(mean {self.mean:.5f}) over {self.sentences} sentences, {self.milliseconds:.1f} ms each"
        )


def sentences_of(model: ClipModel) -> tuple[str, ...]:
    """Some hundred of the model's labels in its templates, ImageNet's labels for a model without; a few long sentences among them."""
    names, templates = _names(model), read_templates(model)
    every = [template.replace("{}", name) for name in names for template in templates]
    step = max(len(every) // SENTENCES, 1)
    long = [", ".join(names[start : start + LONG]) for start in range(0, len(names), max(len(names) // 4, 1))]
    return (*every[::step][:SENTENCES], *long[:4])


def float_vectors(model: ClipModel, sentences: Sequence[str]) -> NDArray[np.float32]:
    """open_clip's own unit vectors [n, E], tokenized by open_clip too."""
    with torch.no_grad():
        parts = [
            model.module.encode_text(model.tokenizer(list(sentences[i : i + BATCH])), normalize=True)
            for i in range(0, len(sentences), BATCH)
        ]
    return np.asarray(torch.cat(parts).float().numpy(), np.float32)


def compare(file: TextFile, sentences: Sequence[str], wanted: NDArray[np.float32]) -> Check:
    """The file's vectors of the sentences beside `wanted`."""
    tower = TextTower(file)
    cosines, seconds = [], []
    for sentence, vector in zip(sentences, wanted, strict=True):
        start = time.perf_counter()
        found = tower.embed(sentence)
        seconds.append(time.perf_counter() - start)
        cosines.append(float(found @ vector))
    least, mean, milliseconds = min(cosines), float(np.mean(cosines)), float(np.median(seconds)) * 1e3
    return Check(file.manifest.weights, len(sentences), least, mean, len(file.flatbuffer), milliseconds)


def _names(model: ClipModel) -> tuple[str, ...]:
    if model.folder is not None and (model.folder / "labels.txt").is_file():
        return read_label_list(None, model).names
    from convert.model.torchvision_ops import open_clip

    return tuple(open_clip.IMAGENET_CLASSNAMES)
