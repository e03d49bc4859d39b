"""Label lists as people write them: a file with one label a line, or names typed in. The one reader of both halves.

A label's line is `NAME`, `ID TAB NAME` or `ID,ID TAB NAME`; of names with commas the first counts. Forms in which other tools write their
labels are in `label_forms.py`; what could be read in two ways is refused, never guessed.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tflite_runtime_app.bundle.labels import unprintable
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.files import is_file, what_it_is
from tflite_runtime_app.text.label_forms import entries_of, typed_entries
from tflite_runtime_app.text.label_lines import Entry, Line, Unclear
from tflite_runtime_app.text.text_lines import lines_of, read_lines

LONGEST = 200  # characters of a name; what is longer was not meant as a label, and the tokenizer would take its time over it
# A word that ends so is meant as a file, whether it is there or not.
SUFFIXES = (".txt", ".tsv", ".csv", ".json", ".yaml", ".yml", ".names", ".pbtxt")
_SHOWN = 5  # repeated labels that a message lists


@dataclass(frozen=True, slots=True)
class LabelList:
    """Names in order, and for each the ids that an image's parent folder may bear: what the list says beside the name, else the name.

    Several ids of a label are separated by commas. A label whose one id is a plain number is known by its name too.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]

    def indices(self, folders: Sequence[str]) -> tuple[int, ...] | None:
        """The label of each image by its folder's name; None unless every folder is a known id."""
        place = self.place
        found = tuple(place.get(folder, -1) for folder in folders)
        return found if found and -1 not in found else None

    def known(self, folders: Sequence[str]) -> list[int]:
        """The places of those images that show what a label names, by their folders' names.

        All of them where folders are no ids.
        """
        place = self.place
        found = [number for number, folder in enumerate(folders) if folder in place]
        return found if self.told_by(folders) else list(range(len(folders)))

    def told_by(self, folders: Sequence[str]) -> bool:
        """Whether folders' names are ids of these labels: at least nine tenths of them must be known."""
        place = self.place
        return 10 * sum(folder in place for folder in folders) >= 9 * len(folders)

    @property
    def place(self) -> dict[str, int]:
        """The label of every known id, made anew by each call."""
        pairs = list(enumerate(zip(self.names, self.ids, strict=True)))
        numbered = {name: index for index, (name, listed) in pairs if listed.isdigit()}
        return numbered | {one: index for index, (name, listed) in pairs for one in _ids(name, listed)}


def label_reader(option: str) -> Callable[[], LabelList]:
    """How to read what --labels means, as often as asked: a label file, or names separated by commas.

    Which of the two is decided here and now, since a file may vanish. Raises LabelError for a file that is not there.
    """
    if is_file(option):
        return partial(read_label_file, option)
    kind = what_it_is(option)
    if kind and (kind != "a folder" or os.sep in option or option.endswith(SUFFIXES)):  # a folder may be called as a label is
        raise LabelError(f"--labels {option}: expected a file with one label a line, found {kind}; check the path")
    if option.endswith(SUFFIXES):
        raise LabelError(f"--labels {option}: no such file; give a file with one label a line, or names separated by commas")
    return partial(typed_labels, option, "--labels")


def read_label_file(path: str | os.PathLike[str]) -> LabelList:
    """The labels in a text file: UTF-8 with or without byte-order mark, or UTF-16 with one; lines end in LF or CRLF.

    Raises LabelError, in one line that names file, line and encoding, when the file cannot be read, is in another encoding, names no label,
    holds control characters or a name of more than `LONGEST` characters, or gives a name or an id twice.
    """
    lines, encoding = read_lines(path, "a text file with one label a line")
    return _parsed(_Text(os.fspath(path), encoding, lines))


def typed_labels(text: str, where: str) -> LabelList:
    """The labels that somebody typed: one line cut at its commas, several lines as in a file. Raises LabelError, which calls it `where`."""
    return _parsed(_Text(where, "", lines_of(text)))


def label_lines(names: Sequence[str]) -> str:
    """A text, a name a line, that `typed_labels` reads as these names: below a header and in quotes where they could mean another thing."""
    plain = "\n".join(names)
    try:
        if typed_labels(plain, "").names == tuple(names):
            return plain
    except LabelError:
        pass
    return "\n".join(["name", *('"' + name.replace('"', '""') + '"' for name in names)])


@dataclass(frozen=True, slots=True)
class _Text:
    """Lines, and what messages call them: `where` they are from and, of a file, its `encoding`, "" for what was typed."""

    where: str
    encoding: str
    lines: list[str]

    @property
    def suffix(self) -> str:
        """The end of the file's name in lower case, "" for what was typed."""
        return os.path.splitext(self.where)[1].lower() if self.encoding else ""

    def at(self, line: int | None = None) -> str:
        """Where a message points to, as in "names.txt, line 3 (UTF-8)"."""
        place = f", line {line}" if line is not None and (self.encoding or len(self.lines) > 1) else ""
        return f"{self.where}{place}{f' ({self.encoding})' if self.encoding else ''}"


def _parsed(text: _Text) -> LabelList:
    for number, line in enumerate(text.lines, 1):
        _check_printable(text, number, line.replace("\t", " "))
    lines = [Line(number, line) for number, line in enumerate(text.lines, 1) if line.strip()]
    try:
        one_typed = not text.encoding and len(lines) == 1 and "\t" not in lines[0].text
        entries = typed_entries(lines[0]) if one_typed else entries_of(lines, text.suffix)
    except Unclear as unclear:
        raise _unclear(text, lines, unclear) from unclear
    entries = [entry for entry in entries if entry.name]
    if not entries:
        raise LabelError(f"{text.at()} names no label; give one label a line in a file, or names separated by commas")
    for entry in entries:
        _check_printable(text, entry.line, f"{entry.name}{entry.ids}")
        if len(entry.name) > LONGEST:
            raise LabelError(
                f"{text.at(entry.line)}: a label has at most {LONGEST} characters, found {len(entry.name)}: {entry.name[:40]!r}…; "
                "is it a label file?"
            )
    _check_different(text, entries)
    return LabelList(tuple(entry.name for entry in entries), tuple(entry.ids or entry.name for entry in entries))


def _unclear(text: _Text, lines: Sequence[Line], unclear: Unclear) -> LabelError:
    """The refusal, with the line that it is about and the first one."""
    first = lines[0].text.strip()[:60]
    found = next((line.text.strip()[:60] for line in lines if line.number == unclear.line), first)
    begins = "" if found == first else f"; it begins with {first!r}"
    return LabelError(
        f"{text.at(unclear.line)}: expected one label a line, found {found!r}: {unclear}{begins}; write NAME or ID TAB NAME a line, "
        'or CSV with the header id,name; a name in "quotes" is taken as it stands'
    )


def _ids(name: str, listed: str) -> list[str]:
    """The ids, each; a name that stands for its id may have commas."""
    return [name] if listed == name else [one for part in listed.split(",") if (one := part.strip())]


def _check_printable(text: _Text, number: int | None, line: str) -> None:
    wrong = unprintable(line)
    if not wrong:
        return
    kind = "control character" if unicodedata.category(wrong) == "Cc" else "character"
    remedy = "is it UTF-16 without a byte-order mark? save it as UTF-8" if wrong == "\0" else "type the label anew"
    raise LabelError(
        f"{text.at(number)}: expected printable characters, found the {kind} U+{ord(wrong):04X} in {line[:40]!r}; {remedy}"
    )


def _check_different(text: _Text, entries: Sequence[Entry]) -> None:
    repeated: dict[str, list[int | None]] = {}
    ids = [(one, entry.line) for entry in entries for one in _ids(entry.name, entry.ids or entry.name)]
    for given in ([(entry.name, entry.line) for entry in entries], ids):
        lines: dict[str, list[int | None]] = {}
        for word, line in given:
            lines.setdefault(word, []).append(line)
        repeated |= {word: found for word, found in lines.items() if len(found) > 1}
    if repeated:
        one_line = (not text.encoding and len(text.lines) == 1) or any(None in lines for lines in repeated.values())
        shown = [
            word if one_line else f"{word} (lines {', '.join(map(str, repeated[word]))})" for word in sorted(repeated)[:_SHOWN]
        ]
        raise LabelError(f"{text.at()}: labels must differ from one another; given more than once: {', '.join(shown)}")
