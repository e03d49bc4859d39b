"""A folder of images, without the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference import image_kinds
from tflite_runtime_app.sources import image
from tflite_runtime_app.sources.base import Frame


def matches(word: str) -> bool:
    """Whether `word` is a folder."""
    return os.path.isdir(word)


def frames(word: str) -> Iterator[Frame]:
    """The files of folder `word` with an image suffix, by name. Raises SourceError when there are none."""
    files = _files(word)
    names = [name for name in files if image_kinds.is_image(name)]
    if not names:
        raise SourceError(
            f"{word}: expected a folder with images ({', '.join(image_kinds.suffixes())}), {_found_instead(word, files)}"
        )
    for name in names:
        yield from image.frames(os.path.join(word, name))


def left_out(word: str) -> str:
    """What `frames` leaves out of a folder that has images, by kind, with what to do; empty where that is nothing."""
    files = _files(word)
    left = image_kinds.left_out(files)
    return f"{word}: {left}" if left and any(map(image_kinds.is_image, files)) else ""


def _files(word: str) -> list[str]:
    """The names of the folder's files, sorted. Raises SourceError when it cannot be read."""
    try:
        return sorted(name for name in os.listdir(word) if os.path.isfile(os.path.join(word, name)))
    except OSError as error:
        raise SourceError(f"{word}: expected a readable folder, found: {error.strerror}") from error


def _found_instead(word: str, files: list[str]) -> str:
    """Why a folder has no images: what is not read here, folders that may hold some, or nothing at all."""
    left = image_kinds.left_out(files)
    if left:
        return f"found none; {left}"
    below = [name for name in sorted(os.listdir(word)) if os.path.isdir(os.path.join(word, name))]
    return f"found none; of its folders, as {below[0]}, name one" if below else "found none"
