"""The labels in a request, checked before the loop is asked: few enough, short enough, and fit to be printed."""

from __future__ import annotations

import json
import unicodedata

from tflite_runtime_app.sinks.web.refused import Refused

MAX_LABELS, MAX_LABEL, MAX_CHARACTERS = 1000, 200, 20_000


def label_text(body: bytes) -> str:
    """The labels of a body {"text": …}, one a line; one line alone is cut at its commas, as on the command line.

    Raises Refused for anything else, for no labels or too many, and for control characters, which would reach a terminal.
    """
    try:
        value = json.loads(body)
        text = value["text"] if isinstance(value, dict) else None
        if isinstance(text, str):
            text.encode()  # half a surrogate pair passes JSON, but no file and no terminal takes it
    except (ValueError, KeyError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise Refused(400, 'expected JSON like {"text": "a red mug\\nmy cat"}, found something else')
    if len(text) > MAX_CHARACTERS:
        raise Refused(413, f"expected at most {MAX_CHARACTERS} characters, found {len(text)}; give fewer labels")
    return "\n".join(_checked(_lines(text)))


def _lines(text: str) -> list[str]:
    lines = [line.strip(", \t") for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) == 1:
        lines = [name for part in lines[0].split(",") if (name := part.strip())]
    return lines


def _checked(lines: list[str]) -> list[str]:
    if not lines:
        raise Refused(422, "expected at least one label, found none; write one a line")
    if len(lines) > MAX_LABELS:
        raise Refused(422, f"expected at most {MAX_LABELS} labels, found {len(lines)}")
    for line in lines:
        if len(line) > MAX_LABEL:
            raise Refused(422, f"expected labels of at most {MAX_LABEL} characters, found one of {len(line)}: {line[:40]}…")
        if any(
            unicodedata.category(character) == "Cc" for character in line if character != "\t"
        ):  # a pasted file has id TAB names
            raise Refused(422, f"expected printable characters, found a control character in {line[:40]!r}; type the label anew")
    return lines
