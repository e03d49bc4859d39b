"""Training images as one array on disk: read once from mosaics, tars, zips or folders, then mapped into memory.

A source is a folder of sheets `WNID.jpg` (tiles of 64 x 64, row-major, 20 to a row), a tar or zip of `WNID/name.png`, or a folder of
`WNID/name.jpg`. Images come out square: the centre of what is not, scaled to the side asked for; the tiles of sheets keep theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from calibration.samples import decoded, samples
from convert.support import kept
from models.recipe.plan import RecipeError
from tflite_runtime_app.errors import SourceError

TILE, ACROSS = 64, 20


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """`pixels` uint8 [n, side, side, 3], `classes` int64 [n]: the position of each one's WordNet id in the list of classes, -1 where it
    is none of them."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class Sets:
    """Photographs, and the tiles of sheets where these are of another side: a batch is drawn from one of the two."""

    photographs: TrainingImages
    tiles: TrainingImages | None = None

    def drawn(self, tiles: bool) -> TrainingImages:
        """The one or the other, where there are two."""
        return self.tiles if tiles and self.tiles is not None else self.photographs


def read_sets(sources: Sequence[Path], ids: Sequence[str], side: int, cache: Path, others: bool, held: int = 0) -> Sets:
    """The images of all sources, but each `held`th of one that is no sheets. Sheets and the others lie apart where `side` is not that of
    the tiles."""
    sheets = [source for source in sources if side != TILE and is_sheets(source)]
    rest = [source for source in sources if source not in sheets]
    if not rest:
        return Sets(read(sheets, ids, TILE, cache, others))
    return Sets(read(rest, ids, side, cache, others, held), read(sheets, ids, TILE, cache, others) if sheets else None)


def is_sheets(source: Path) -> bool:
    """Whether a source is a folder of sheets."""
    return source.is_dir() and any(path.is_file() for path in source.iterdir())


def read(
    sources: Sequence[Path], ids: Sequence[str], side: int, cache: Path, others: bool = False, held: int = 0
) -> TrainingImages:
    """All images of the classes named, with `others` of all, but each `held`th, in the sources' order; kept under `cache`, so that a
    second call takes no time.

    Raises RecipeError for a source that holds none of them.
    """
    key = hashlib.sha256(
        "\n".join([*(f"{p.resolve()} {p.stat().st_mtime_ns}" for p in sources), *ids, f"{side} {others} {held}"]).encode()
    ).hexdigest()[:16]
    pixels, classes = cache / f"pixels-{key}.npy", cache / f"classes-{key}.npy"
    if not classes.is_file():
        place = {wnid: number for number, wnid in enumerate(ids)}
        found: list[NDArray[np.uint8]] = []
        of: list[int] = []
        for source in sources:
            before = len(of)
            for number, (wnid, image) in enumerate(each(source)):
                if (others or wnid in place) and not (held and number % held == 0):
                    found.append(np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)))
                    of.append(place.get(wnid, -1))
            if len(of) == before:
                raise RecipeError(
                    f"{source} holds no image of the {len(ids)} classes; expected WNID.jpg sheets, or WNID/name.jpg"
                )
        kept.array(pixels, np.stack(found))
        kept.array(classes, np.asarray(of, np.int64))
    return TrainingImages(np.load(pixels, mmap_mode="r"), np.load(classes))


def each(source: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every image of a source with its WordNet id. Raises RecipeError for one that cannot be read."""
    for sample in samples([source]):
        try:
            image = decoded(sample)
        except SourceError as error:
            raise RecipeError(f"{error}; take it out of the training images") from error
        if source.is_dir() and Path(sample.name).parent == source:
            yield from ((Path(sample.name).stem, tile) for tile in _tiles(image))
        else:
            yield sample.folder, image


def _tiles(sheet: Image.Image) -> Iterator[Image.Image]:
    """The tiles of a sheet, row by row."""
    sheet.load()
    for number in range(sheet.width // TILE * (sheet.height // TILE)):
        row, column = divmod(number, ACROSS)
        yield sheet.crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
