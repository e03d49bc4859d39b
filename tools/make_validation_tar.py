"""Makes the tar of validation images that the project's numbers refer to, from a copy of Tiny-ImageNet that you have.

    python tools/make_validation_tar.py tiny-imagenet-200 val.tar

Reads val/val_annotations.txt and val/images/val_N.JPEG and writes the images of models/pocket/validation-files.txt, in that
order, as WNID/val_N.JPEG. Exit status: 0 when all were found, 1 when some were not (the tar then holds the others).

What is known of the list. It has 5,050 names in 202 classes, 25 a class. Tiny-ImageNet as published has 200 classes and
val_0 to val_9999. 5,000 of the names are numbered so. The other 50 (val_10000 and up: gorilla n02480855 and groom n10148035)
are not of the published set: a modified public copy with 202 classes has them. All 5,050 class labels agree with that copy's
val_annotations.txt. Stanford's own archive was not at hand: the first entries (val_0, val_1) agree with what public code quotes
from it, the rest is not checked against it, nor are the images' bytes. So expect 5,000 of 5,050 and exit status 1 from the
published archive; numbers measured on that tar are not over the same images as ours. Standard library only.
"""

import argparse
import io
import sys
import tarfile
from pathlib import Path

LISTED = Path(__file__).resolve().parent.parent / "models" / "pocket" / "validation-files.txt"


def annotations(path: Path) -> dict[str, str]:
    """val_N.JPEG -> WordNet id."""
    rows = (line.split("\t") for line in path.read_text().splitlines() if line.strip())
    return {row[0]: row[1].strip() for row in rows}


def write_tar(source: Path, listed: list[str], output: Path) -> tuple[int, int, int]:
    """The tar holds the listed images that are there under the listed class. Returns found, absent, differently labelled."""
    labels = annotations(source / "val" / "val_annotations.txt")
    found = absent = relabelled = 0
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in listed:
            wnid, _, name = member.partition("/")
            image = source / "val" / "images" / name
            if name not in labels or not image.is_file():
                absent += 1
            elif labels[name] != wnid:
                relabelled += 1
            else:
                data = image.read_bytes()
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
                found += 1
    return found, absent, relabelled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the unpacked tiny-imagenet-200 folder")
    parser.add_argument("output", type=Path, help="the tar to write")
    arguments = parser.parse_args()
    if not (arguments.source / "val" / "val_annotations.txt").is_file():
        sys.exit(f"expected val/val_annotations.txt in {arguments.source}; name the unpacked tiny-imagenet-200 folder")
    listed = LISTED.read_text().split()
    found, absent, relabelled = write_tar(arguments.source, listed, arguments.output)
    print(f"{arguments.output}: {found} of {len(listed)} listed images; {absent} absent, {relabelled} under another class")
    if found < len(listed):
        sys.exit("The tar is not the list's whole: numbers measured on it do not compare with the model card's.")


if __name__ == "__main__":
    main()
