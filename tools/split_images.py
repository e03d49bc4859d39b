"""Cuts archives of images in three: those that nothing learns from, those to calibrate and choose on, and those that heads are trained on.

    python tools/split_images.py --images a.tar --images b.tar --out split

Of every ten images of an archive the first goes into `held.tar` (a recipe with `held = 10` keeps the same ones from training), the next
three into `calibration.tar`, the others into `taught.tar`, each under its id.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from calibration.samples import Sample, samples

PARTS = {"held": range(1), "calibration": range(1, 4), "taught": range(4, 10)}


def write(path: Path, chosen: Iterable[Sample]) -> int:
    """A tar of ID/name; how many images it holds."""
    count, part = 0, path.with_suffix(".part")
    with tarfile.open(part, "w") as file:
        for count, sample in enumerate(chosen, 1):
            entry = tarfile.TarInfo(f"{sample.folder}/{count:05d}-{Path(sample.name).name}")
            entry.size = len(sample.content)
            file.addfile(entry, io.BytesIO(sample.content))
    part.replace(path)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    every = [(k % 10, sample) for path in given.images for k, sample in enumerate(samples([path])) if not sample.fault]
    for name, places in PARTS.items():
        path = given.out / f"{name}.tar"
        print(f"{path}: {write(path, (sample for place, sample in every if place in places))} images")


if __name__ == "__main__":
    main()
