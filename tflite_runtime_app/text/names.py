"""Label names as people write them: a file with one a line, or names separated by commas."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tflite_runtime_app.errors import LabelError

LONGEST = 200  # characters; what is longer was not meant as a label, and the tokenizer would take its time over it


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names in a text file: one a line, of several separated by commas the first; `id TAB` before a name is left out.

    Raises LabelError when the file cannot be read or is no list of names.
    """
    try:
        text = Path(path).read_text("utf-8-sig")  # Windows editors put a byte-order mark at the start
    except OSError as error:
        raise LabelError(
            f"{path}: expected a text file with one label a line, found: {error.strerror}; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: expected a text file with one label a line, found no UTF-8 ({error.reason})") from error
    return _checked(_a_line_each(text), str(path))


def split_names(text: str, where: str) -> tuple[str, ...]:
    """The names that somebody typed: one line cut at its commas, of several lines a name each as in a file.

    Raises LabelError, which calls the text `where`, when it names nothing.
    """
    lines = text.splitlines()
    return _checked(lines[0].split(",") if len(lines) == 1 else _a_line_each(text), where)


def _a_line_each(text: str) -> Iterable[str]:
    return (line.rpartition("\t")[2].split(",")[0] for line in text.splitlines())


def _checked(found: Iterable[str], where: str) -> tuple[str, ...]:
    names = tuple(name for name in (name.strip() for name in found) if name)
    if not names:
        raise LabelError(f"{where} names no label; give one label a line in a file, or names separated by commas")
    long = next((name for name in names if len(name) > LONGEST), None)
    if long is not None:
        raise LabelError(
            f"{where}: a label has at most {LONGEST} characters, found {len(long)}: {long[:40]!r}…; is it a label file?"
        )
    if any("\0" in name for name in names):
        raise LabelError(f"{where}: expected text, found zero bytes; is it a label file?")
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise LabelError(f"{where}: labels must differ from one another; given more than once: {', '.join(twice[:5])}")
    return names
