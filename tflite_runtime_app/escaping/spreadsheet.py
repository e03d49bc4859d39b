"""Text for a cell of a CSV file: no spreadsheet takes it for a formula."""

from __future__ import annotations

from tflite_runtime_app.escaping.terminal import escaped_lines

FORMULA = tuple("=+-@＝＋－＠")  # with the full-width forms, which some spreadsheets read alike


def cell(text: str) -> str:
    """`text` behind an apostrophe where it begins as a formula does, blanks aside; control characters but line feeds escaped.

    It is for words: a figure such as -0.3 must not come here.
    """
    harmless = escaped_lines(text)
    return f"'{harmless}" if harmless.lstrip().startswith(FORMULA) else harmless
