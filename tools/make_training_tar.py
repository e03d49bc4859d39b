"""Makes the tar of training images that the embedded model's exit heads were trained on, from a copy of Tiny-ImageNet that you have.

    python tools/make_training_tar.py tiny-imagenet-200 train.tar       # train/WNID/images/*.JPEG, the published layout
    python tools/make_training_tar.py mosaics train.tar                 # WNID.jpg: tiles of 64 x 64, row-major, 20 to a row

Writes the first 240 images of every class as WNID/N.png, N counted from 0. Needs Pillow.
"""

import argparse
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

PER_CLASS, SIDE, ACROSS = 240, 64, 20


def tiles(path: Path) -> Iterator[Image.Image]:
    """The tiles of one class's sheet, in order."""
    with Image.open(path) as sheet:
        sheet.load()
        for number in range(min(PER_CLASS, sheet.width // SIDE * (sheet.height // SIDE))):
            row, column = divmod(number, ACROSS)
            yield sheet.crop((column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE))


def classes(source: Path) -> Iterator[tuple[str, Iterator[Image.Image]]]:
    """Every class with its images."""
    if (source / "train").is_dir():
        for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
            yield folder.name, (Image.open(path) for path in sorted((folder / "images").iterdir())[:PER_CLASS])
    for path in sorted(source.glob("n*.jpg")):
        yield path.stem, tiles(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    count = 0
    with tarfile.open(arguments.output, "w", format=tarfile.USTAR_FORMAT) as tar:
        for wnid, images in classes(arguments.source):
            for number, image in enumerate(images):
                data = io.BytesIO()
                image.convert("RGB").save(data, "PNG", compress_level=1)
                entry = tarfile.TarInfo(f"{wnid}/{number}.png")
                entry.size = data.tell()
                data.seek(0)
                tar.addfile(entry, data)
                count += 1
    if not count:
        sys.exit(f"{arguments.source} holds neither train/WNID/images nor WNID.jpg")
    print(f"{arguments.output}: {count} images")


if __name__ == "__main__":
    main()
