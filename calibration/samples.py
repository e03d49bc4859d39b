"""A representative data set: images in folders, tar and zip files, in a fixed order, with the label that their folder names.

Order: the sources as given; an archive in its own order, a folder sorted by path. An image's label is its parent folder's name.
Decoded tensors lie in a file without a name, mapped into memory: the system keeps of them what it has room for, and the file is gone with
the last array that shows it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from calibration.archives import Member, is_archive, members
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference import image_kinds
from tflite_runtime_app.inference.preprocess import image_of, image_to_tensor

_ROWS = 256  # images that are copied at once


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: where it came from, its parent folder's name, and its encoded bytes; or why they cannot be had, in `fault`."""

    name: str
    folder: str
    content: bytes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Images as int8 tensors [n, H, W, 3] (byte - 128), ready for the interpreter; `digest` identifies list and contents.

    `tensors` has a digest for every image: equal ones are the same to the model. It is empty where nobody asked for it.
    `images` cannot be written to; it takes disk (TMPDIR's) and hardly any memory of its own, however many there are.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    images: NDArray[np.int8]
    digest: str
    skipped: tuple[str, ...]
    tensors: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def part(self, start: int, stop: int | None) -> SampleSet:
        """Images start .. stop - 1 as a set of their own."""
        where = slice(start, stop)
        names, folders, tensors = self.names[where], self.folders[where], self.tensors[where]
        return SampleSet(names, folders, self.images[where], f"{self.digest}[{start}:{stop or ''}]", (), tensors)

    def chosen(self, places: Sequence[int]) -> SampleSet:
        """The images at these places, in that order, as a set of their own, copied."""
        names, folders = (tuple(listed[k] for k in places) for listed in (self.names, self.folders))
        tensors = tuple(self.tensors[k] for k in places) if self.tensors else ()
        which = hashlib.sha256(repr(tuple(places)).encode()).hexdigest()[:16]
        shape = self.images.shape[1:]
        parts = (self.images[list(places[at : at + _ROWS])] for at in range(0, len(places), _ROWS))
        with tempfile.TemporaryFile(prefix="calibration-") as file:
            for part in parts:
                file.write(part.tobytes())
            images = _mapped(file, (len(places), *shape))
        return SampleSet(names, folders, images, f"{self.digest}[{which}]", (), tensors)

    def distinct(self) -> list[int]:
        """The places of the images of which no equal one stands before them."""
        first: dict[bytes, int] = {}
        for place, tensor in enumerate(self.tensors):
            first.setdefault(tensor, place)
        return list(first.values()) if self.tensors else list(range(len(self)))


def samples(sources: Sequence[Path]) -> Iterator[Sample]:
    """Every image of the sources. Raises FileNotFoundError naming a source that does not exist, ArchiveError for one that is damaged."""
    for source in sources:
        if source.is_dir():
            for path in _images(source):
                yield _file(path)
        elif _is_archive(source):
            for member in members(source):
                if image_kinds.is_image(member.name):
                    yield _member(source, member)
        elif source.is_file():
            yield _file(source)
        else:
            raise FileNotFoundError(f"--images {source}: no such folder, tar file, zip file or image")


def count(sources: Sequence[Path]) -> int:
    """How many images `samples` will give, none of them read; of a source that does not exist none."""
    total = 0
    for source in sources:
        if source.is_dir():
            total += len(_images(source))
        elif _is_archive(source):
            total += sum(image_kinds.is_image(member.name) for member in members(source))
        else:
            total += source.is_file()
    return total


def left_out(sources: Sequence[Path]) -> str:
    """How many images of the folders and archives are of kinds that are not read here, with what to do; empty where there are none."""
    names: list[str] = []
    for source in sources:
        if source.is_dir():
            names += (path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        elif _is_archive(source):
            names += (member.name for member in members(source))
    return image_kinds.left_out(names)


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if image_kinds.is_image(path.relative_to(folder).as_posix()))
    return sorted(path for path in found if path.is_file())


def _is_archive(source: Path) -> bool:
    return source.is_file() and not image_kinds.is_image(source.name) and is_archive(source)


def _file(path: Path) -> Sample:
    try:
        return Sample(str(path), path.parent.name, path.read_bytes())
    except OSError as error:  # nobody may read it, or it has gone meanwhile
        return Sample(str(path), path.parent.name, b"", f"it cannot be read: {error.strerror}")


def _member(source: Path, member: Member) -> Sample:
    name, folder = f"{source}:{member.name}", PurePosixPath(member.name).parent.name
    try:
        return Sample(name, folder, member.read())
    except SourceError as error:
        return Sample(name, folder, b"", str(error))


def load(items: Iterable[Sample], preprocessing: Preprocessing) -> SampleSet:
    """All images preprocessed as the board does it; broken ones are left out and named in `skipped`."""
    names, folders, skipped, tensors = [], [], [], []
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(prefix="calibration-") as file:
        for item in items:
            try:
                tensor = tensor_of(item, preprocessing)
            except SourceError as error:
                skipped.append(str(error))
                continue
            digest.update(hashlib.sha256(item.content).digest())
            names.append(item.name)
            folders.append(item.folder)
            tensors.append(hashlib.blake2b(tensor.tobytes(), digest_size=16).digest())
            file.write(tensor.tobytes())
        images = _mapped(file, (len(names), preprocessing.height, preprocessing.width, 3))
    return SampleSet(tuple(names), tuple(folders), images, digest.hexdigest(), tuple(skipped), tuple(tensors))


def _mapped(file: IO[bytes], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What was written to the file, as an array of that shape that cannot be written to."""
    file.flush()
    return np.asarray(np.memmap(file, np.int8, "r", shape=shape)) if shape[0] else np.zeros(shape, np.int8)


def decoded(item: Sample) -> Image:
    """The image as the board decodes it, upright. Raises SourceError in one line, which names it, when it cannot be read."""
    if item.fault:
        raise SourceError(" ".join(f"{item.name}: {item.fault}".split()))
    try:
        return image_of(item.content, item.name)
    except SourceError as error:
        raise SourceError(" ".join(str(error).split())) from error  # an archive may hold any name


def tensor_of(item: Sample, preprocessing: Preprocessing) -> NDArray[np.int8]:
    """The image as the board makes it, [H, W, 3]. Raises SourceError, which names it, when it cannot be read."""
    image = decoded(item)
    try:
        tensor: NDArray[np.int8] = image_to_tensor(image, preprocessing)[0]
    except SourceError as error:
        raise SourceError(f"{item.name}: {error}") from error
    return tensor


def pixels(images: NDArray[np.int8]) -> NDArray[np.float32]:
    """int8 image tensors as real values in 0..1, what the float stages take."""
    return (images.astype(np.float32) + 128) / 255


def evenly(images: NDArray[np.int8], most: int) -> NDArray[np.int8]:
    """At most so many of the images [n, H, W, 3], evenly spread, the first and the last among them."""
    chosen: NDArray[np.int8] = images[np.linspace(0, len(images) - 1, min(len(images), most)).astype(int)]
    return chosen
