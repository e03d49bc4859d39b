"""Names of other things, beside which an image may turn out to be none of the labels: a model's own, or ImageNet's thousand and some
common things that ImageNet has no class for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.model.labels import VECTORS, read_templates, text_vectors
from convert.model.load import ClipModel
from tflite_runtime_app.bundle.labels import LabelBank, read_labels

FILE = "background.npz"  # in a model folder
FURTHER = (  # none of them a kind of which ImageNet has classes: it would fit those classes' images better than they do
    "person", "human face", "tree", "grass", "forest", "road", "wall", "floor", "window", "book", "paper", "key", "knife", "fork",
    "headphones", "motorcycle", "shirt", "trousers", "dress", "shorts", "milk carton", "giraffe", "rhinoceros", "potato", "tomato",
    "carrot", "onion", "garlic", "grape", "melon", "peach", "pear", "mango", "kiwi fruit", "avocado", "rice", "omelette", "cake",
    "clouds", "fog", "rain", "snow", "blue sky", "sunset",
)  # fmt: skip


def background_of(model: ClipModel) -> LabelBank | None:
    """What lies ready in the model's folder, else the vectors of a classifier's own classes, else those of ImageNet's thousand names
    and `FURTHER` by the text tower, in the first of the model's templates; None for an image tower alone.
    """
    ready = [model.folder / name for name in ((FILE,) if model.text else (FILE, VECTORS))] if model.folder is not None else []
    for path in ready:
        if path.is_file():
            bank = read_labels(path)
            return bank if bank.space_id == model.space_id else None
    if not model.text:
        return None
    from convert.model.torchvision_ops import open_clip

    names, templates = tuple(dict.fromkeys((*open_clip.IMAGENET_CLASSNAMES, *FURTHER))), read_templates(model)[:1]
    return LabelBank(_embedded(model.module, model.tokenizer, names, templates), names, templates, model.space_id)


@functools.lru_cache(maxsize=1)  # the calibration compares with them, then the bundle holds them
def _embedded(module: Any, tokenizer: Any, names: tuple[str, ...], templates: tuple[str, ...]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = text_vectors(module, tokenizer, names, templates).numpy()
    return vectors
