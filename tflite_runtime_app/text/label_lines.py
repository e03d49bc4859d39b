"""What every form of a label file is made of: lines, cells, entries, and what cannot be read one way only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_QUOTED = r'\s*"((?:[^"]|"")*)"\s*'  # RFC 4180: a quote inside is written twice
_ENTITY = re.compile(r"&#?\w+;")
# Numbers, WordNet's n02123045 and its like, Freebase's /m/01g317: nobody calls a thing so.
_ID = re.compile(r"\d{1,12}|[a-z]\d{6,9}|/[a-z]/\w+", re.ASCII)


class Unclear(Exception):
    """A text that is no list of labels, or could be read in two ways; the message says what it looks like, `line` where."""

    def __init__(self, line: int | None, looks: str) -> None:
        super().__init__(looks)
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a label file, and its number, from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands between two delimiters; what stood in quotes is meant as it is written."""

    text: str
    quoted: bool = False

    @property
    def is_id(self) -> bool:
        """Whether it can only be an id, or several separated by commas."""
        parts = [part.strip() for part in self.text.split(",")]
        return all(_ID.fullmatch(part) for part in parts)

    @property
    def name(self) -> str:
        """The name that it gives: in quotes the whole of it, else of several separated by commas the first."""
        return self.text if self.quoted else self.text.partition(",")[0].strip()


@dataclass(frozen=True, slots=True)
class Entry:
    """One label: its name, the ids that stand beside it ("" for none), and the number of its line where lines mean something."""

    line: int | None
    name: str
    ids: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line."""

    line: int | None
    cells: tuple[Cell, ...]


def cells(line: Line, delimiter: str) -> tuple[Cell, ...]:
    """The line cut at the delimiter, but not inside quotes. Raises Unclear for a quote that is not closed."""
    field = re.compile(rf"(?:{_QUOTED}|([^{re.escape(delimiter)}]*))(?:{re.escape(delimiter)}|$)")
    found, place = [], 0
    while place <= len(line.text):
        match = field.match(line.text, place)
        assert match is not None  # the second form of a field takes anything
        quoted, plain = match.groups()
        text = quoted.replace('""', '"') if quoted is not None else plain
        if quoted is None and text.lstrip().startswith('"') and text.count('"') % 2:
            raise Unclear(line.number, "a quote that is not closed")
        found.append(Cell(text.strip(), quoted is not None))
        if match.end() == len(line.text) and not match.group().endswith(delimiter):
            break
        place = match.end()
    return tuple(found)


def has(line: Line, delimiter: str) -> bool:
    """Whether the line has the delimiter outside quotes, and not as the end of an HTML entity."""
    bare = Line(line.number, _ENTITY.sub("", line.text)) if delimiter == ";" else line
    return delimiter in bare.text and len(cells(bare, delimiter)) > 1


def are_ids(found: Sequence[Cell]) -> bool:
    """Whether these cells, one at least, can only be ids."""
    return bool(found) and all(cell.is_id for cell in found)
