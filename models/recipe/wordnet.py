"""The nouns of WordNet 3.0, from its own files (format: wndb(5WN)): the words of a thing, what lies above it and below, a word's senses."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from models.recipe.plan import RecipeError

FILE, INDEX = "data.noun", "index.noun"
ABOVE = ("@", "@i")  # is a kind of, is an instance of


@dataclass(frozen=True)
class WordNet:
    """By WordNet id, as `n02084071`: `words`, the commonest first, and the ids right above. A thing may have several above it.

    `senses`, by word in small letters: the ids of what it may mean, the most frequent first.
    """

    words: Mapping[str, tuple[str, ...]]
    above: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    senses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def below(self) -> Mapping[str, tuple[str, ...]]:
        """The ids right below each."""
        found: dict[str, list[str]] = {}
        for wnid, ones in self.above.items():
            for one in ones:
                found.setdefault(one, []).append(wnid)
        return {wnid: tuple(ones) for wnid, ones in found.items()}

    def ancestors(self, wnid: str) -> list[str]:
        """All that lie above, the nearest first. Raises RecipeError for an id that is none of WordNet's nouns."""
        return self._reached(wnid, self.above)

    def descendants(self, wnid: str) -> list[str]:
        """All that lie below, the nearest first. Raises as `ancestors`."""
        return self._reached(wnid, self.below)

    def depth(self, wnid: str) -> int:
        """Steps to the top, the shortest way."""
        above = self.above[wnid]
        return 1 + min(self.depth(one) for one in above) if above else 0

    def _reached(self, wnid: str, ways: Mapping[str, tuple[str, ...]]) -> list[str]:
        if wnid not in self.words:
            raise RecipeError(f"{wnid} is no noun of WordNet 3.0; expected an id as n02084071")
        found: dict[str, None] = {}
        waiting = deque(ways.get(wnid, ()))
        while waiting:
            one = waiting.popleft()
            if one not in found:
                found[one] = None
                waiting.extend(ways.get(one, ()))
        return list(found)


def read(folder: Path) -> WordNet:
    """The nouns in a folder's data.noun and index.noun (Debian: wordnet-base has them in /usr/share/wordnet).

    Raises RecipeError where one is missing.
    """
    words, above = {}, {}
    for parts in _entries(folder / FILE):
        count = int(parts[3], 16)
        pointers = 4 + 2 * count
        words[f"n{parts[0]}"] = tuple(parts[4 + 2 * k].replace("_", " ") for k in range(count))
        entries = (parts[pointers + 1 + 4 * k : pointers + 5 + 4 * k] for k in range(int(parts[pointers])))
        above[f"n{parts[0]}"] = tuple(f"n{offset}" for symbol, offset, kind, _ in entries if symbol in ABOVE and kind == "n")
    senses = {parts[0].replace("_", " "): tuple(f"n{o}" for o in parts[-int(parts[2]) :]) for parts in _entries(folder / INDEX)}
    return WordNet(words, above, senses)


def _entries(path: Path) -> list[list[str]]:
    """The words of every line but those of the licence at the top."""
    try:
        lines = path.read_text("latin-1").splitlines()
    except OSError as error:
        raise RecipeError(f"{path} cannot be read as WordNet's nouns: {error.strerror}") from error
    return [line.split() for line in lines if not line.startswith("  ")]
