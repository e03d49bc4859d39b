"""A pattern with *, ? or [ that the shell left alone; ** goes through folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import pairwise

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sources import image
from tflite_runtime_app.sources.base import Frame

_SHOWN = 3  # folders that a message lists


def matches(word: str) -> bool:
    """Whether `word` has a wildcard and is not itself the name of something."""
    return glob.has_magic(word) and not os.path.exists(word)


def frames(word: str) -> Iterator[Frame]:
    """The files that `word` stands for, by name, whatever their suffix.

    Raises SourceError when there are none, and behind the last one when a folder could not be looked into.
    """
    unreadable: list[str] = []
    paths = sorted(path for path in _paths(word, unreadable) if os.path.isfile(path))
    hidden = f"cannot look into {', '.join(unreadable[:_SHOWN])}{' and more' if len(unreadable) > _SHOWN else ''}"
    if not paths:
        found = f"none, and {hidden}; give yourself the right to read it" if unreadable else "none; check it"
        raise SourceError(f"{word}: expected a pattern that some file matches, found {found}")
    for path in paths:
        yield from image.frames(path)
    if unreadable:
        raise SourceError(f"{word}: {hidden}; the other images were looked at")


def _paths(word: str, unreadable: list[str]) -> set[str]:
    """What the pattern matches. Folders that cannot be read are added to `unreadable`."""
    parts = [part for part, after in pairwise((*word.split("/"), "")) if (part, after) != ("**", "**")]
    if "**" not in parts:
        return set(glob.glob(word))
    # The library's own ** goes through links again and again: with two that lead back, for ever.
    place = parts.index("**")
    before, behind = "/".join(parts[:place]), "/".join(parts[place + 1 :]) or "*"
    tops = glob.glob(before) if glob.has_magic(before) else [before or ("/" if place else "")]
    folders = {folder for top in tops for folder in _folders(top, set(), unreadable)}
    return {path for folder in folders for path in _paths(os.path.join(glob.escape(folder), behind), unreadable)}


def _folders(top: str, seen: set[tuple[int, int]], unreadable: list[str]) -> Iterator[str]:
    """`top` and the folders below it, without hidden ones; each once, also where links lead to it. "" is the working folder."""
    try:
        found = os.stat(top or ".")
        if (found.st_dev, found.st_ino) in seen:
            return
        seen.add((found.st_dev, found.st_ino))
        names = sorted(os.listdir(top or "."))
    except OSError:
        unreadable.append(top)
        return
    yield top
    for name in names:
        path = os.path.join(top, name)
        if not name.startswith(".") and os.path.isdir(path):
            yield from _folders(path, seen, unreadable)
