"""`python -m models.recipe.photographs FOLDER --wordnet /usr/share/wordnet --images samples.tar …`: top-1 over a model's lists of labels.

An answer is right where one of its ids is the image's own (its folder's name), or lies above or below it in WordNet: "dog" and "poodle"
both are for a poodle. Images of what a list has no name for are left aside. In float, through open_clip; intervals are Wilson's, 95 %.
With `--held 10` each tenth image of an archive alone is looked at: those that a recipe keeps from training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.samples import load, pixels, samples
from convert.model.labels import embed_labels, read_label_list
from convert.model.load import ClipModel, load_model
from models.recipe import wordnet
from models.recipe.score import Share
from models.recipe.wordnet import WordNet
from tflite_runtime_app.text.label_list import LabelList

BATCH = 64


def right_names(tree: WordNet, listed: LabelList, wnid: str) -> frozenset[int]:
    """The places of the names that are right for an image of this id."""
    place = listed.place
    related = (*tree.ancestors(wnid), *tree.descendants(wnid)) if wnid in tree.words else ()
    return frozenset(place[one] for one in (wnid, *related) if one in place)


def share_right(cosines: Tensor, right: Sequence[frozenset[int]]) -> Share:
    """Of the images that the list has a name for, those whose best name is right; `cosines` [n, names]."""
    answers = cosines.argmax(1).tolist()
    told = [answer in names for answer, names in zip(answers, right, strict=True) if names]
    return Share(sum(told), len(told))


def embedded(model: ClipModel, images: Iterable[Path], held: int) -> tuple[Tensor, list[str]]:
    """Unit embeddings [n, E] and the folders' names."""
    chosen = [sample for path in images for k, sample in enumerate(samples([path])) if not held or k % held == 0]
    shown, found = load(chosen, model.preprocessing), []
    with torch.inference_mode():
        for start in range(0, len(shown), BATCH):
            found.append(F.normalize(model.encode(torch.from_numpy(pixels(shown.images[start : start + BATCH]))), dim=1))
    return torch.cat(found), list(shown.folders)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.recipe.photographs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="an open_clip model folder")
    parser.add_argument("--wordnet", type=Path, required=True, help="the folder of WordNet's data.noun")
    parser.add_argument("--images", type=Path, action="append", required=True, help="ID/name.jpg; may be given again")
    parser.add_argument("--labels", action="append", help="lists, as of convert build; default: everyday and imagenet")
    parser.add_argument("--held", type=int, default=0, help="look at each so manieth image alone, from the first")
    parser.add_argument("--together", action="store_true", help="one row for all the images")
    given = parser.parse_args()
    model, tree = load_model(given.folder, None, None), wordnet.read(given.wordnet)
    lists = {name: read_label_list(name, model) for name in given.labels or ("everyday", "imagenet")}
    banks = {name: torch.from_numpy(embed_labels(listed, model).vectors) for name, listed in lists.items()}
    print("| |", " | ".join(f"{name}, {len(listed.names):,} names" for name, listed in lists.items()), "|")
    for group in [given.images] if given.together else [[path] for path in given.images]:
        embeddings, folders = embedded(model, group, given.held)
        cells = []
        for name, listed in lists.items():
            right = [right_names(tree, listed, folder) for folder in folders]
            share = share_right(embeddings @ banks[name].T, right)
            cells.append(f"{share}, {share.of} images")
        print(f"| {', '.join(path.stem for path in group)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
