"""`python -m models.recipe.card FOLDER --validation val.tar --photographs samples.tar --wnids wnids.txt`: a model card's scores.

In float, through open_clip; intervals are Wilson's, 95 %. `wnids.txt` lists ImageNet's thousand WordNet ids in label order.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from calibration.samples import SampleSet, load, samples
from convert.model.labels import embed_labels, read_ids
from convert.model.load import ClipModel, load_model
from convert.model.torchvision_ops import open_clip
from models.recipe import score
from models.recipe.score import Score
from tflite_runtime_app.text.label_list import LabelList, read_label_file

EXITS = (2, 4, 6, 8, 10, 12)
REPORTED = 3030  # images of the validation tar before those that nothing is chosen by


def scored(model: ClipModel, shown: SampleSet, listed: LabelList, bank: Tensor, exits: Sequence[int] = ()) -> Score:
    """The score over images whose folders are ids of the list."""
    place = listed.place
    of = [place[folder] for folder in shown.folders]
    mean, deviation = torch.tensor(model.mean), torch.tensor(model.deviation)
    return score.score(model.module.visual, score.batches(shown, of, mean, deviation), bank, exits)


def marked(shown: SampleSet, which: Sequence[bool]) -> SampleSet:
    """The images that are marked."""
    return shown.chosen([place for place, wanted in enumerate(which) if wanted])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.recipe.card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="an open_clip model folder with classes.tsv")
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="one or more of some of ImageNet's classes, as WNID/name.jpg")
    parser.add_argument("--wnids", type=Path, help="the ids of ImageNet's thousand classes, one a line in label order")
    parser.add_argument("--trained", type=Path, help="the classes trained on, where some of classes.tsv were left out")
    given = parser.parse_args()
    model = load_model(given.folder, None, None)
    assert model.folder is not None
    own = read_label_file(model.folder / "classes.tsv")
    bank = torch.from_numpy(embed_labels(own, model).vectors)
    shown = load(samples([given.validation]), model.preprocessing)
    row(f"zero-shot over {len(own.names)} names, {len(shown):,} validation images", scored(model, shown, own, bank, EXITS))
    if len(shown) > REPORTED:
        last = shown.part(REPORTED, None)
        row(f"the last {len(last):,} of them", scored(model, last, own, bank, EXITS))
    if given.trained is not None:
        left_out(model, shown, own, bank, read_label_file(given.trained).place)
    if given.photographs is None or given.wnids is None:
        return
    every = LabelList(tuple(open_clip.IMAGENET_CLASSNAMES), tuple(read_ids(given.wnids)))
    bank = torch.from_numpy(embed_labels(every, model).vectors)
    shown = load(samples([given.photographs]), model.preprocessing)
    known = own.place
    trained = [folder in known for folder in shown.folders]
    row(f"zero-shot over {len(every.names):,} names, {len(shown)} photographs", scored(model, shown, every, bank))
    row(f"the {sum(trained)} of classes trained on", scored(model, marked(shown, trained), every, bank))
    unseen = marked(shown, [not one for one in trained])
    row(f"the {len(unseen)} of classes never trained on", scored(model, unseen, every, bank))


def left_out(model: ClipModel, shown: SampleSet, own: LabelList, bank: Tensor, trained: Collection[str]) -> None:
    """Rows for the images of classes that were not trained on: told from all names, and from one another's."""
    new = [place for place, wnid in enumerate(own.ids) if wnid not in trained]
    ids = {own.ids[place] for place in new}
    unseen = marked(shown, [folder in ids for folder in shown.folders])
    row(f"{len(unseen)} images of {len(new)} classes left out, over {len(own.names)} names", scored(model, unseen, own, bank))
    few = LabelList(tuple(own.names[k] for k in new), tuple(own.ids[k] for k in new))
    row(f"the same over these {len(new)} names", scored(model, unseen, few, bank[new]))


def row(what: str, found: Score) -> None:
    """Lines of the card's table."""
    print(f"| {what}, top-1 | {found.top1} |\n| top-5 | {found.top5} |", flush=True)
    if found.exits:
        print(f"| mean patch token, shared head, after blocks {', '.join(map(str, found.exits))}, top-1 |", end=" ")
        print("; ".join(map(str, found.exits.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
