"""How well "none of these" tells photographs of listed things from those of others.

    python -m tools.measure_none deit.tflite --labels list.txt --images samples.tar

The label file has ids before its names (`ID TAB NAME`); an image shows a listed thing where its folder is one of these ids. Prints the area
under the ROC curve (the chance that of one image each the listed one scores higher; Hanley and McNeil 1982 for its deviation) for the
best label's cosine alone and for its lead over the best background name, and what the file turns away, with 95 % intervals (Wilson).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from calibration.samples import decoded, samples
from convert.report.wilson import wilson
from convert.support.progress import OnTerminal
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.answer import answer
from tflite_runtime_app.inference.background import likeness
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tflite_runtime_app.text.label_list import read_label_file
from tflite_runtime_app.text.label_source import LabelSource


@dataclass(frozen=True, slots=True)
class Seen:
    """Of every image: whether its thing is listed, the best label's cosine, its lead over the background, whether it was turned away."""

    listed: NDArray[np.bool_]
    cosine: NDArray[np.float64]
    lead: NDArray[np.float64]
    none: NDArray[np.bool_]


def area(scores: NDArray[np.float64], listed: NDArray[np.bool_]) -> tuple[float, float]:
    """The area under the ROC curve and its standard deviation."""
    yes, no = int(listed.sum()), int((~listed).sum())
    found = float((rankdata(scores)[listed].sum() - yes * (yes + 1) / 2) / (yes * no))
    both, twice = found / (2 - found), 2 * found**2 / (1 + found)
    variance = (found * (1 - found) + (yes - 1) * (both - found**2) + (no - 1) * (twice - found**2)) / (yes * no)
    return found, float(np.sqrt(variance))


def look(classifier: Classifier, sources: Sequence[Path], ids: frozenset[str]) -> Seen:
    """Every readable image through the file, exits and all."""
    rows, manifest = [], classifier.bundle.manifest
    found = list(samples(sources))
    for sample in OnTerminal().over(found, len(found), "images"):
        try:
            tensor = image_to_tensor(decoded(sample), manifest.preprocessing)
        except SourceError:
            continue
        embedding = classifier.cascade.run(tensor, classifier.bank)
        said = answer(embedding, classifier.bank, classifier.cascade.manifest, 1, classifier.background)
        best = said.top[0].cosine
        other = -1.0 if classifier.background is None else likeness(embedding.vector, classifier.background).cosine
        rows.append((sample.folder in ids, best, best - other, said.none))
    listed, cosine, lead, none = (np.array(column) for column in zip(*rows, strict=True))
    return Seen(listed, cosine, lead, none)


def lines(seen: Seen) -> list[str]:
    """What was found, a line a figure."""
    told = [f"{seen.listed.sum()} images of listed things, {(~seen.listed).sum()} of others"]
    for name, scores in (("best cosine alone", seen.cosine), ("lead over the background", seen.lead)):
        found, deviation = area(scores, seen.listed)
        told.append(f"{name}: area {found:.3f} ± {1.96 * deviation:.3f}")
    for name, chosen in (("listed", seen.listed), ("others", ~seen.listed)):
        share, count = float(seen.none[chosen].mean()), int(chosen.sum())
        low, high = wilson(share, count)
        told.append(f"turned away of {name}: {share:.1%} ({low:.1%} to {high:.1%})")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--images", type=Path, action="append", required=True)
    given = parser.parse_args()
    bundle = read_bundle(given.bundle)
    classifier = Classifier(bundle, threads=2)
    print(classifier.use(LabelSource(bundle, str(given.labels), threads=2).read()))
    seen = look(classifier, given.images, frozenset(read_label_file(given.labels).place))
    if seen.listed.all() or not seen.listed.any():
        parser.exit(
            2, "measure_none: expected images of listed things and of others, by their folders' ids, found one kind only\n"
        )
    print("\n".join(lines(seen)))


if __name__ == "__main__":
    main()
