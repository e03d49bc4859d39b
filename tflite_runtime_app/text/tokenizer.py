"""CLIP's byte-pair tokenizer: a sentence as the ids that its text towers were trained on."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise

from tflite_runtime_app.text.clean import clean

MERGES = "merges.txt.gz"  # OpenAI's, two symbols a line, the earliest first (NOTICE)
START, END = "<start_of_text>", "<end_of_text>"
_WHOLE = re.compile(f"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d", re.IGNORECASE)
_LAST = "</w>"  # the mark of a word's last symbol
_LOST = "\u0345"  # the one mark that has a letter for its other case; CLIP's pattern, blind to case, finds it neither in L nor outside


class Tokenizer:
    """About 20 MB once it is loaded, so whoever is done with it lets it go."""

    def __init__(self) -> None:
        content = gzip.decompress((files("tflite_runtime_app.text") / MERGES).read_bytes()).decode()
        merges = [tuple(line.split(" ")) for line in content.splitlines()]
        symbols = _byte_symbols()
        vocabulary = [*symbols, *(symbol + _LAST for symbol in symbols), *("".join(pair) for pair in merges), START, END]
        self._ids = {symbol: number for number, symbol in enumerate(vocabulary)}
        self._ranks = {(first, second): rank for rank, (first, second) in enumerate(merges)}
        self._by_byte = dict(zip(_byte_order(), symbols, strict=True))
        self._words: dict[str, list[int]] = {START: [self._ids[START]], END: [self._ids[END]]}

    @property
    def size(self) -> int:
        """How many ids there are; the highest is the end of a text."""
        return len(self._ids)

    def encode(self, sentence: str, context: int) -> list[int]:
        """The ids between start and end of text, start and end included; at most `context` of them, the end always the last."""
        ids = [self._ids[START]]
        for word in split(clean(sentence)):
            ids += self._word(word)
            if len(ids) >= context:
                break
        return [*ids[: context - 1], self._ids[END]]

    def _word(self, word: str) -> list[int]:
        if word not in self._words:
            symbols = [self._by_byte[byte] for byte in word.encode()]
            symbols[-1] += _LAST
            self._words[word] = [self._ids[symbol] for symbol in self._merged(symbols)]
        return self._words[word]

    def _merged(self, symbols: list[str]) -> list[str]:
        """Neighbours joined, the pair that was learnt first before the others, until no two can be."""
        unknown = len(self._ranks)
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, unknown))
            if best not in self._ranks:
                break
            joined, place = [], 0
            while place < len(symbols):
                both = place < len(pairs) and pairs[place] == best
                joined.append(symbols[place] + symbols[place + 1] if both else symbols[place])
                place += 2 if both else 1
            symbols = joined
        return symbols


def split(text: str) -> Iterator[str]:
    """The words of a clean text: contractions' ends, runs of letters, single digits, and runs of anything else but white space."""
    place = 0
    while place < len(text):
        whole = _WHOLE.match(text, place)
        kind = _kind(text[place])
        end = whole.end() if whole else place + 1
        if whole is None and kind in ("letter", "other"):
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != "space":
            yield text[place:end]
        place = end


def _kind(character: str) -> str:
    """By Unicode's categories: isalpha() is exactly L; of N, what has a number's value, letters such as 一 set aside."""
    if character.isalpha():
        return "letter"
    if character.isnumeric():
        return "number"
    return "space" if character.isspace() or character == _LOST else "other"


def _byte_order() -> list[int]:
    """All bytes: those that Latin-1 prints first."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return printed + [byte for byte in range(256) if byte not in printed]


def _byte_symbols() -> list[str]:
    """A visible character for each byte, in that order: itself, or one from beyond Latin-1."""
    order = _byte_order()
    printed = next(place for place, byte in enumerate(order) if byte == 0)
    return [chr(byte) for byte in order[:printed]] + [chr(256 + number) for number in range(256 - printed)]
