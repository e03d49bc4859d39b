"""Of everyday names those that a model finds and does not cry wolf with: what goes into its labels.txt.

    python tools/choose_labels.py models/pocket models/everyday.tsv --images val.tar --first 3030 --images samples.tar

The candidates are lines `id,id TAB name`, the ids of the images that a name is right for. Names that fail are taken away, the worst
tenth at a time, until every one left is the first answer to at least a quarter of its images, is right at least a quarter of the times
that it is answered to images of names on the list, and does so more often than the luck of the draw explains (binomial tail under 1 %).
Writes the names that are left with their ids into the model's labels.txt, and all that was found out into labels.csv beside it.
"""

import argparse
import csv
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from calibration.samples import load, pixels, samples
from convert.model.labels import embed_labels
from convert.model.load import load_model
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal
from tflite_runtime_app.escaping.spreadsheet import cell
from tflite_runtime_app.text.label_list import LabelList, read_label_file

LEAST = 0.25  # of a name's images, and of the times that it is answered
LUCK = 0.01
BATCH = 128


@dataclass(frozen=True, slots=True)
class Found:
    """How a name does among others: its images, those answered with it, and how often it is answered to anybody's."""

    pictures: int
    right: int
    answered: int

    def share(self) -> float:
        """The lower of recall and precision."""
        return min(self.right / max(self.pictures, 1), self.right / max(self.answered, 1))

    def passes(self, names: int) -> bool:
        """Whether the name may stay among so many."""
        return self.share() >= LEAST and float(binom.sf(self.right - 1, self.pictures, 1 / names)) < LUCK


def found(cosines: NDArray[np.float32], of: NDArray[np.int64], kept: NDArray[np.int64]) -> list[Found]:
    """For every name of `kept`, in order, how it does on their images when only these are asked for.

    `of` [n] is each image's name among all. Images of names taken away have no right answer any more, so they are nobody's fault: were
    they counted, every name that goes would take its neighbours along, until of a weak model's none is left.
    """
    shown = np.isin(of, kept)
    of, answers = of[shown], kept[cosines[shown][:, kept].argmax(1)]
    return [Found(int((of == k).sum()), int(((answers == k) & (of == k)).sum()), int((answers == k).sum())) for k in kept]


def chosen(cosines: NDArray[np.float32], of: NDArray[np.int64]) -> NDArray[np.int64]:
    """The names that all pass among one another; images [n, names] by their cosines with every candidate."""
    kept = np.arange(cosines.shape[1])
    while len(kept):
        seen = found(cosines, of, kept)
        failing = sorted((one.share(), place) for place, one in enumerate(seen) if not one.passes(len(kept)))
        if not failing:
            break
        kept = np.delete(kept, [place for _, place in failing[: max(1, len(failing) // 10)]])
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("candidates", type=Path)
    parser.add_argument("--images", type=Path, action="append", required=True)
    parser.add_argument(
        "--first", type=int, action="append", default=[], help="of each --images in turn, so many; the rest is left"
    )
    given = parser.parse_args()
    model, listed = load_model(given.model, None, None), read_label_file(given.candidates)
    assert model.folder is not None
    bank, cosines, of, place = embed_labels(listed, model).vectors, [], [], listed.place
    for source, first in itertools.zip_longest(given.images, given.first):
        shown = load((s for s in itertools.islice(samples([source]), first) if s.folder in place), model.preprocessing)
        for start in OnTerminal().over(
            range(0, len(shown), BATCH), -(-len(shown) // BATCH), f"{source.name}, batches of {BATCH}"
        ):
            batch = torch.from_numpy(pixels(shown.images[start : start + BATCH]))
            cosines.append(torch.nn.functional.normalize(model.encode(batch), dim=1).numpy() @ bank.T)
        of += [place[folder] for folder in shown.folders]
    seen, right = np.concatenate(cosines), np.array(of)
    kept = chosen(seen, right)
    if not len(kept):
        parser.exit(
            2, f"choose_labels: of {len(listed.names)} names none passes beside the others; {model.name} keeps its list\n"
        )
    lines = "".join(f"{listed.ids[k]}\t{listed.names[k]}\n" for k in kept)
    write_atomically(model.folder / "labels.txt", lines.encode())
    found_out = f"# of the model whose space is {model.space_id}\n" + table(listed, seen, right, kept)
    write_atomically(model.folder / "labels.csv", found_out.encode())
    known = np.isin(right, kept)
    first = kept[seen[known][:, kept].argmax(1)] == right[known]
    print(
        f"{len(kept)} of {len(listed.names)} names; of {known.sum()} images of theirs {first.mean():.1%} get the right one first"
    )


def table(listed: LabelList, seen: NDArray[np.float32], right: NDArray[np.int64], kept: NDArray[np.int64]) -> str:
    """What was found of every candidate: among the names kept, and for one left out among these and itself."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("name", "kept", "pictures", "right", "answered"))
    among = dict(zip(kept.tolist(), found(seen, right, kept), strict=True))
    for k, name in enumerate(listed.names):
        one = among.get(k) or found(seen, right, np.append(kept, k))[-1]
        rows.writerow((cell(name), "yes" if k in among else "no", one.pictures, one.right, one.answered))
    return text.getvalue()


if __name__ == "__main__":
    main()
