"""The labels in a request, checked before the loop is asked: few enough for a page, and fit to be read."""

from __future__ import annotations

import json

from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.sinks.web.refused import Refused
from tflite_runtime_app.text.label_list import label_lines, typed_labels

MAX_LABELS, MAX_CHARACTERS = 1000, 20_000


def label_text(body: bytes) -> str:
    """The names of a body {"text": …}, one a line, as `typed_labels` reads them again; one line alone is cut at its commas, as on the
    command line.

    Raises Refused for anything else, for too many labels, and for what the reader of label lists refuses.
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
    try:
        names = typed_labels(text, "the list").names
    except LabelError as error:
        raise Refused(422, str(error)) from error
    if len(names) > MAX_LABELS:
        raise Refused(422, f"expected at most {MAX_LABELS} labels, found {len(names)}; give fewer labels")
    return label_lines(names)
