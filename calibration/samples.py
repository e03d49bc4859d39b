"""A representative data set: images in folders and tar files, in a fixed order, with the label that their folder names.

Order: the sources as given; a tar in its own order, a folder sorted by path. An image's label is its parent folder's name.
Decoded tensors lie in a file without a name, mapped into memory: the system keeps of them what it has room for, and the file is gone with
the last array that shows it.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.preprocess import SUFFIXES, image_to_tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: where it came from, its parent folder's name, and its encoded bytes."""

    name: str
    folder: str
    content: bytes


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Images as int8 tensors [n, H, W, 3] (byte - 128), ready for the interpreter; `digest` identifies list and contents.

    `images` cannot be written to; it takes disk (TMPDIR's) and hardly any memory of its own, however many there are.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    images: NDArray[np.int8]
    digest: str
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def part(self, start: int, stop: int | None) -> SampleSet:
        """Images start .. stop - 1 as a set of their own."""
        where = slice(start, stop)
        return SampleSet(self.names[where], self.folders[where], self.images[where], f"{self.digest}[{start}:{stop or ''}]", ())

    def chosen(self, places: Sequence[int]) -> SampleSet:
        """The images at these places as a set of their own, in memory."""
        names, folders = (tuple(listed[k] for k in places) for listed in (self.names, self.folders))
        which = hashlib.sha256(repr(tuple(places)).encode()).hexdigest()[:16]
        return SampleSet(names, folders, self.images[list(places)], f"{self.digest}[{which}]", ())


def samples(sources: Sequence[Path]) -> Iterator[Sample]:
    """Every image of the sources. Raises FileNotFoundError naming a source that does not exist."""
    for source in sources:
        if source.is_dir():
            for path in _images(source):
                yield Sample(str(path), path.parent.name, path.read_bytes())
        elif source.is_file() and tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                for member in archive:
                    if _is_image(member):
                        content = archive.extractfile(member)
                        assert content is not None  # a regular file always has content
                        yield Sample(f"{source}:{member.name}", Path(member.name).parent.name, content.read())
        elif source.is_file():
            yield Sample(str(source), source.parent.name, source.read_bytes())
        else:
            raise FileNotFoundError(f"--images {source}: no such folder, tar file or image")


def count(sources: Sequence[Path]) -> int:
    """How many images `samples` will give, none of them read; of a source that does not exist none."""
    total = 0
    for source in sources:
        if source.is_dir():
            total += len(_images(source))
        elif source.is_file() and tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                total += sum(_is_image(member) for member in archive)
        else:
            total += source.is_file()
    return total


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _is_image(member: tarfile.TarInfo) -> bool:
    return member.isfile() and Path(member.name).suffix.lower() in SUFFIXES


def load(items: Iterable[Sample], preprocessing: Preprocessing) -> SampleSet:
    """All images preprocessed as the board does it; broken ones are left out and named in `skipped`."""
    names, folders, skipped = [], [], []
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(prefix="calibration-") as file:
        for item in items:
            try:
                tensor = tensor_of(item, preprocessing)
            except SourceError as error:
                skipped.append(f"{item.name}: {error}")
                continue
            digest.update(hashlib.sha256(item.content).digest())
            names.append(item.name)
            folders.append(item.folder)
            file.write(tensor.tobytes())
        file.flush()
        shape = (len(names), preprocessing.height, preprocessing.width, 3)
        images = np.asarray(np.memmap(file, np.int8, "r", shape=shape)) if names else np.zeros(shape, np.int8)
    return SampleSet(tuple(names), tuple(folders), images, digest.hexdigest(), tuple(skipped))


def tensor_of(item: Sample, preprocessing: Preprocessing) -> NDArray[np.int8]:
    """The image as the board makes it, [H, W, 3]. Raises SourceError when it cannot be read."""
    try:
        with Image.open(io.BytesIO(item.content)) as image:
            tensor: NDArray[np.int8] = image_to_tensor(image, preprocessing)[0]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(str(error)) from error
    return tensor


def pixels(images: NDArray[np.int8]) -> NDArray[np.float32]:
    """int8 image tensors as real values in 0..1, what the float stages take."""
    return (images.astype(np.float32) + 128) / 255


def evenly(images: NDArray[np.int8], most: int) -> NDArray[np.int8]:
    """At most so many of the images [n, H, W, 3], evenly spread, the first and the last among them."""
    chosen: NDArray[np.int8] = images[np.linspace(0, len(images) - 1, min(len(images), most)).astype(int)]
    return chosen
