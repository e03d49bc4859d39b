"""Training pictures as one array on disk: read once from mosaics, tars or folders, then mapped into memory.

A source is a folder of sheets `WNID.jpg` (tiles of 64 x 64, row-major, 20 to a row), a tar of `WNID/name.png`, or a folder of
`WNID/name.jpg`. Pictures come out square: the centre of what is not, scaled to the side asked for.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.recipe.plan import RecipeError

TILE, ACROSS = 64, 20
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class Pictures:
    """`pixels` uint8 [n, side, side, 3], `classes` int64 [n]: the position of each one's WordNet id in the list of classes."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def read(sources: Sequence[Path], ids: Sequence[str], side: int, cache: Path) -> Pictures:
    """All pictures of the classes named, in the sources' order; kept under `cache`, so that a second call takes no time.

    Raises RecipeError for a source that holds none of them.
    """
    key = hashlib.sha256(
        "\n".join([*(f"{p.resolve()} {p.stat().st_mtime_ns}" for p in sources), *ids, str(side)]).encode()
    ).hexdigest()[:16]
    pixels, classes = cache / f"pixels-{key}.npy", cache / f"classes-{key}.npy"
    if not classes.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        place = {wnid: number for number, wnid in enumerate(ids)}
        found: list[NDArray[np.uint8]] = []
        of: list[int] = []
        for source in sources:
            before = len(of)
            for wnid, picture in each(source):
                if wnid in place:
                    found.append(np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.BICUBIC)))
                    of.append(place[wnid])
            if len(of) == before:
                raise RecipeError(
                    f"{source} holds no picture of the {len(ids)} classes; expected WNID.jpg sheets, or WNID/name.jpg"
                )
        _save(pixels, np.stack(found))
        _save(classes, np.asarray(of, np.int64))
    return Pictures(np.load(pixels, mmap_mode="r"), np.load(classes))


def each(source: Path, most: int | None = None) -> Iterator[tuple[str, Image.Image]]:
    """Every picture of a source with its WordNet id, the first `most` of them."""
    yield from itertools.islice(_each(source), most)


def _each(source: Path) -> Iterator[tuple[str, Image.Image]]:
    if source.is_file():
        with tarfile.open(source) as tar:
            for member in tar:
                if member.isfile() and "/" in member.name:
                    content = tar.extractfile(member)
                    assert content is not None
                    yield member.name.split("/")[-2], Image.open(io.BytesIO(content.read()))
        return
    for path in sorted(source.iterdir()):
        if path.is_dir():
            for picture in sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES):
                yield path.name, Image.open(picture)
        elif path.suffix.lower() in SUFFIXES:
            with Image.open(path) as sheet:
                sheet.load()
                for number in range(sheet.width // TILE * (sheet.height // TILE)):
                    row, column = divmod(number, ACROSS)
                    yield path.stem, sheet.crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Writes under a temporary name first, so that what lies there is whole."""
    part = path.with_suffix(".part.npy")
    np.save(part, array)
    os.replace(part, path)
