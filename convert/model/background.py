"""Names of other things, beside which an image may turn out to be none of the labels: a model's own, or ImageNet's thousand and some
common things that ImageNet has no class for."""

from __future__ import annotations

import functools

from convert.model.labels import VECTORS, bank_of, read_templates
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

    return _embedded(_Once(model), tuple(dict.fromkeys((*open_clip.IMAGENET_CLASSNAMES, *FURTHER))))


class _Once:
    """A model that equals those of the same space in the same folder: what is made of one is remembered for the others."""

    def __init__(self, model: ClipModel) -> None:
        self.model = model

    def __hash__(self) -> int:
        return hash(self.model.space_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and (self.model.space_id, self.model.folder) == (other.model.space_id, other.model.folder)


@functools.lru_cache(maxsize=1)  # the calibration compares with them, then the bundle holds them
def _embedded(of: _Once, names: tuple[str, ...]) -> LabelBank:
    return bank_of(names, of.model, read_templates(of.model)[:1])
