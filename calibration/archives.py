"""Images in tar and zip files, read one after the other and never unpacked to disk."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tflite_runtime_app.errors import AppError, SourceError

LARGEST = (
    1 << 28
)  # bytes of an image's file: TIFF files of 89 million pixels take no more; a zip may promise a million times its size
_ENCRYPTED = 1  # of a zip member's flags
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError)


class ArchiveError(AppError):
    """An archive is cut short or damaged."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, by its path there; `read` gives its bytes, before the next one is asked for.

    It raises SourceError where this one cannot be had, ArchiveError where none behind it can.
    """

    name: str
    read: Callable[[], bytes]


def is_archive(path: Path) -> bool:
    """Whether the file at `path` is a tar, compressed or not, or a zip."""
    try:
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except _BROKEN:
        return False


def members(path: Path) -> Iterator[Member]:
    """Every file in the archive, in its own order. Raises ArchiveError where it is cut short or damaged."""
    with _whole(path):
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                yield from (_tar_member(path, tar, entry) for entry in tar if entry.isfile())
        else:
            with _zip_file(path) as archive:
                yield from (_zip_member(archive, entry) for entry in archive.infolist() if not entry.is_dir())


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Within, whatever libraries say of a broken archive is an ArchiveError: behind it nothing of it can be read."""
    try:
        yield
    except _BROKEN as error:
        raise ArchiveError(f"{path}: expected a whole tar or zip file, found: {error}; make it again") from error


def _zip_file(path: Path) -> zipfile.ZipFile:
    """The zip, its names as UTF-8 where they are that, as macOS writes them without saying so."""
    try:
        return zipfile.ZipFile(path, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(path)


def _tar_member(path: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    def read() -> bytes:
        with _whole(path):
            content = tar.extractfile(entry)
            assert content is not None  # a regular file always has content
            return _limited(content, entry.size)

    return Member(entry.name, read)


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    def read() -> bytes:
        if entry.flag_bits & _ENCRYPTED:
            raise SourceError("it is encrypted; unpack the zip with its password and name the folder")
        with _faults(), archive.open(entry) as content:
            return _limited(content, entry.file_size)

    return Member(entry.filename.replace("\\", "/"), read)


@contextmanager
def _faults() -> Iterator[None]:
    """Within, a damaged member is one that cannot be read: those behind it in a zip can."""
    try:
        yield
    except _BROKEN as error:
        raise SourceError(f"it cannot be unpacked: {error}") from error


def _limited(content: IO[bytes], size: int) -> bytes:
    """All of `content`, `size` bytes as the archive says. Raises SourceError when that is more than an image takes."""
    if size > LARGEST:
        raise SourceError(f"expected at most {LARGEST} bytes, found {size}")
    return content.read(size)
