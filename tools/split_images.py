"""Cuts archives of images apart, by the place of each image among ten of its archive.

    python tools/split_images.py --images a.tar --images b.tar --out split
    python tools/split_images.py --images c.tar --out halves --part chosen=1,3,5,7,9 --part judged=0,2,4,6,8

Without `--part` the first of ten goes into `held.tar` (a recipe with `held = 10` keeps the same ones from training), the next three into
`calibration.tar`, the others into `taught.tar`, which heads are trained on. Each lies under its id.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from calibration.samples import Sample, samples

PARTS = ("held=0", "calibration=1,2,3", "taught=4,5,6,7,8,9")


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
    parser.add_argument("--part", action="append", help="NAME=PLACES as in held=0,5; may be given again")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    every = [(k % 10, sample) for path in given.images for k, sample in enumerate(samples([path])) if not sample.fault]
    for part in given.part or PARTS:
        name, _, listed = part.partition("=")
        path, places = given.out / f"{name}.tar", {int(place) for place in listed.split(",")}
        print(f"{path}: {write(path, (sample for place, sample in every if place in places))} images")


if __name__ == "__main__":
    main()
