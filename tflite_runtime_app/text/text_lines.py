"""A small text file as editors on every system save it, as lines."""

from __future__ import annotations

import codecs
import os
import re

from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.files import read_regular


def read_lines(path: str | os.PathLike[str], what: str) -> tuple[list[str], str]:
    """The lines of the file, and the name of its encoding: UTF-8 with or without byte-order mark, or UTF-16 with one.

    Raises LabelError, in one line that says what was expected (`what`), for a file that cannot be read or is in another encoding.
    """
    where = os.fspath(path)
    try:
        content = read_regular(path)
    except OSError as error:
        raise LabelError(f"{where}: expected {what}, found: {error.strerror}; check the path") from error
    text, encoding = _decoded(content, where)
    return lines_of(text), encoding


def lines_of(text: str) -> list[str]:
    """Lines without their ends: LF, CRLF, or CR as on old Macintoshes."""
    return re.split(r"\r\n|\n|\r", text.rstrip("\r\n"))


def _decoded(content: bytes, where: str) -> tuple[str, str]:
    """The text and the name of its encoding."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise LabelError(f"{where}: expected UTF-8, or UTF-16 with a byte-order mark, found UTF-32; save it as UTF-8")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    codec, encoding = ("utf-16", "UTF-16") if wide else ("utf-8-sig", "UTF-8")
    try:
        return content.decode(codec), encoding
    except UnicodeDecodeError as error:
        line = error.object[: error.start].decode(codec, "replace").count("\n") + 1
        raise LabelError(
            f"{where}, line {line}: expected {encoding}, found byte 0x{error.object[error.start]:02x} ({error.reason}); "
            "save it as UTF-8"
        ) from error
