"""The forms in which people and tools write labels, each understood where it can be read one way only.

Plain is one name a line. A name in quotes is taken as it stands, so whatever looks like something else can be written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from tflite_runtime_app.text.label_documents import document
from tflite_runtime_app.text.label_lines import Cell, Entry, Line, Unclear, cells
from tflite_runtime_app.text.label_tables import NAMES, table

DOCUMENTS = (".json", ".jsonl", ".yaml", ".yml", ".pbtxt", ".xml", ".html", ".toml", ".ini")
COMMENTS = ("#", "//", ";")
_SYNSET = re.compile(r"([a-z]\d{8})[\s:,_-]+(?:(\d+)\s+)?(.*\S)", re.ASCII)
_NUMBERED = re.compile(r"([0-9]{1,6})(?:\s*[:.)]\s+|[:.)](?=\D)|\s+-\s+|\s+)(\S.*)")
_GLUED = re.compile(r"([0-9]{1,6})[-_]\D.*")
_SEPARATED = re.compile(r"[;|]")
_ENTITY = re.compile(r"&#?\w+;")
_IMAGE = re.compile(r"\.(?:jpe?g|png|bmp|gif|webp|tiff?)\b", re.IGNORECASE)
_COUNTED = re.compile(r"(.*\S)\s+(\d{1,6})", re.ASCII)
_BULLET = re.compile(r"[-*•]\s+(.*\S)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 1000  # characters that a line with an id before or behind its name may have
_PLACEHOLDER = re.compile(r"LABEL_\d+")


def entries_of(lines: Sequence[Line], suffix: str = "") -> list[Entry]:
    """The labels of a text of several lines, in one of the known forms; `suffix` is that of its file's name, in lower case.

    Raises Unclear for a text that is in none of them.
    """
    found = document(lines)
    if found is None and suffix in DOCUMENTS and lines:
        raise Unclear(lines[0].number, f"no names as a {suffix} file gives them")
    if found is None:
        lines = [line for line in lines if line.text.strip() and not line.text.lstrip().startswith(COMMENTS)]
        lines = lines[1:] if lines and re.fullmatch(r"sep=.", lines[0].text.strip()) else lines  # a word of Excel's
        found = table(lines) if lines else []
    if found is None:
        found = _plain(_without_header(lines))
    _check(found, lines)
    return found


def typed_entries(line: Line) -> list[Entry]:
    """The labels of one line that was typed: names separated by commas, in quotes where one has a comma itself."""
    found = document([line]) if line.text.lstrip().startswith(("{", "[")) else None
    if found is None:
        parts = [cell for cell in cells(line, ",") if cell.text]
        _check_separators([(line.number, cell) for cell in parts])
        words = [(line.number, "" if cell.quoted else cell.text) for cell in parts]
        found = _numbered_from_0(words) or [Entry(line.number, cell.text) for cell in parts]
        if all(_NUMBER.fullmatch(cell.text) and not cell.quoted for cell in parts) and parts:
            raise Unclear(line.number, "numbers and no names")
    _check(found, [line])
    return found


def _without_header(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines of names, without the one word at the top that says what they are."""
    head = "_".join(lines[0].text.strip().strip('"').casefold().split())
    return lines[1:] if head in NAMES and len(lines) > 1 else lines


def _plain(lines: Sequence[Line]) -> list[Entry]:
    """A name a line; of names separated by commas the first. One line alone is a list of names separated by commas."""
    if len(lines) == 1:
        return typed_entries(lines[0])
    first = [(line.number, _first(line)) for line in lines]
    _check_separators(first)
    return _by_prefix(first) or [Entry(number, cell.name) for number, cell in first if cell.name]


def _first(line: Line) -> Cell:
    """What the line says: the text in quotes with which it begins, else all of it."""
    text = line.text.strip()
    if text.startswith('"'):
        found = cells(line, ",")[0]
        return found if found.quoted else Cell(text)
    if len(text) > 2 and text[0] == "'" and text.rstrip(",")[-1] == "'":
        return Cell(text.rstrip(",")[1:-1], True)
    return Cell(text)


def _by_prefix(found: Sequence[tuple[int, Cell]]) -> list[Entry] | None:
    """Where all begin with an id or a sign of lists, the names behind; None where none does. Raises Unclear where some do."""
    words = [(number, "" if cell.quoted or len(cell.text) > _LONGEST else cell.text) for number, cell in found]
    if not words:
        return None
    bullets = [_BULLET.fullmatch(text) for _, text in words]
    if any(bullets):
        if not all(bullets):
            raise Unclear(
                next(n for (n, _), match in zip(words, bullets, strict=True) if match), "a list that is one in part only"
            )
        found = [(number, Cell(match[1])) for (number, _), match in zip(words, bullets, strict=True) if match]
        return _by_prefix(found) or [Entry(number, cell.name) for number, cell in found]
    synsets = [_SYNSET.fullmatch(text) for _, text in words]
    if any(synsets):
        matches = [match for match in synsets if match]
        if len(matches) < len(words):
            raise Unclear(next(n for (n, _), match in zip(words, synsets, strict=True) if match), "an id before some names only")
        return [Entry(number, Cell(match[3]).name, match[1]) for (number, _), match in zip(words, matches, strict=True)]
    glued = [match for _, text in words if (match := _GLUED.fullmatch(text))]
    if len(glued) == len(words) > 1 and [int(match[1]) for match in glued] in (
        list(range(len(words))),
        list(range(1, len(words) + 1)),
    ):
        raise Unclear(words[0][0], "numbers before the names that may be part of them")
    return _numbered(words) or _counted(words)


def _numbered(words: Sequence[tuple[int, str]]) -> list[Entry] | None:
    """`0 cat`, `1: dog`, `2. bird`: numbers that count from 0 or 1, with few left out."""
    matches = [(number, match) for number, text in words if (match := _NUMBERED.fullmatch(text))]
    numbers = [int(match[1]) for _, match in matches]
    if not matches:
        return None
    counting = numbers[0] in (0, 1) and all(before < after for before, after in pairwise(numbers))
    if len(matches) == len(words) and (len(words) > 1 or numbers == [0]):
        if not counting or numbers[-1] > 2 * len(words):
            raise Unclear(matches[0][0], "numbers before the names that do not count from 0 or 1")
        names = [(number, match[2]) for number, match in matches]
        twice = _numbered(names) if len(names) > 1 and all(_NUMBERED.fullmatch(name) for _, name in names) else None
        return twice or [Entry(number, Cell(match[2]).name, match[1]) for number, match in matches]
    most = numbers[0] == 0 or (len(matches) > 2 and 2 * len(matches) > len(words))
    if counting and len(matches) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1 and most:
        raise Unclear(matches[0][0], "a number before some names only")
    return None


def _numbered_from_0(words: Sequence[tuple[int, str]]) -> list[Entry] | None:
    """`0 cat, 1 dog`; whoever types `2 dogs, 3 dogs` counts dogs."""
    matches = [_NUMBERED.fullmatch(text) for _, text in words]
    if not words or [int(match[1]) if match else -1 for match in matches] != list(range(len(words))):
        return None
    return [Entry(number, match[2], match[1]) for (number, _), match in zip(words, matches, strict=True) if match]


def _counted(words: Sequence[tuple[int, str]]) -> list[Entry] | None:
    """`cat 0`, `dog 1`: numbers behind, where names differ without them."""
    matches = [match for _, text in words if (match := _COUNTED.fullmatch(text))]
    numbers = [int(match[2]) for match in matches]
    if len(matches) < len(words) or len(words) < 2 or numbers[0] not in (0, 1):
        return None
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or len({match[1] for match in matches}) < len(matches):
        return None
    if numbers[0] == 1:
        raise Unclear(words[0][0], "numbers behind the names that may be part of them")
    return [Entry(number, Cell(match[1]).name, match[2]) for (number, _), match in zip(words, matches, strict=True)]


def _check_separators(found: Sequence[tuple[int, Cell]]) -> None:
    """Returns when no name has a sign in it that separates names elsewhere."""
    for number, cell in found:
        if not cell.quoted and (sign := _SEPARATED.search(_ENTITY.sub("", cell.name))):
            raise Unclear(number, f"the sign {sign[0]!r} in a name; names on one line are separated by commas")


def _check(found: Sequence[Entry], lines: Sequence[Line]) -> None:
    """Returns when names can be names. Raises Unclear for numbers, ids, placeholders, and what programs write."""
    names = [entry.name for entry in found]
    quoted = {line.number for line in lines if line.text.lstrip().startswith(('"', "'"))}
    loose = [entry for entry in found if entry.line not in quoted]
    first = lines[0].number if lines else None
    if loose and all(_NUMBER.fullmatch(entry.name) for entry in loose) and len(loose) == len(found):
        raise Unclear(first, "numbers and no names")
    if loose and len(loose) == len(found) and all(Cell(entry.name).is_id for entry in loose):
        raise Unclear(first, "ids and no names")
    if loose and len(loose) == len(found) and all(_IMAGE.search(entry.name) for entry in loose):
        raise Unclear(first, "names of image files")
    if names and all(_PLACEHOLDER.fullmatch(name) for name in names):
        raise Unclear(first, "placeholders and no names")
    for entry in loose:
        if entry.line is not None and (entry.name.startswith('"') and entry.name.count('"') % 2):
            raise Unclear(entry.line, "a quote that is not closed")
