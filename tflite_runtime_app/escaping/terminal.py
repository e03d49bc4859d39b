"""Text for a terminal: nothing in it moves the cursor, rings, turns the writing round, or makes a second line."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"  # without them Persian, Hindi and many an emoji fall apart
# Control characters, formatting ones such as bidi overrides, surrogates (bytes of a file name that are no text), line and paragraph ends.
_HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")


def escaped(text: object) -> str:
    r"""`text` with every character that a terminal would obey as an escape, as in \n, \x1b and \u202e; everything else as it is."""
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(
        character.encode("unicode_escape").decode("ascii") if _harmful(character) else character for character in words
    )


def escaped_lines(text: str) -> str:
    """The same of every line; line feeds stay."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def _harmful(character: str) -> bool:
    return character not in JOINERS and unicodedata.category(character) in _HARMFUL
