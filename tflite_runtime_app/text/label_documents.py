"""Labels in the notations of programs: JSON, TensorFlow's label maps (pbtxt), and the list of names in a YAML file of ultralytics."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tflite_runtime_app.text.label_lines import Cell, Entry, Line, Row, Unclear
from tflite_runtime_app.text.label_tables import IDS, NAMES, rows_of_ids

_LISTS = (
    "id2label",
    "names",
    "labels",
    "classes",
    "class_names",
    "categories",
    "label2id",
    "class_to_idx",
)  # of a larger document
_YAML = re.compile(r"(?:names|labels|classes|class_names)\s*:\s*(?:#.*)?(?P<flow>[\[{&*!|>].*)?")
_ITEM = re.compile(r"\s*-\s+(?P<value>.+)")
_PAIR = re.compile(r"\s+(?P<key>\d+)\s*:\s+(?P<value>.+)")
_FIELD = re.compile(r"""(\w+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(\d+))[\s,;]*""")
_LONGEST = 1000  # characters that are looked at for one name
_COMMENT = re.compile(r"\s*(?:#|//|;)")


def document(lines: Sequence[Line]) -> list[Entry] | None:
    """The labels of a text in one of these notations, None for other texts. Raises Unclear for one that holds no list of names."""
    filled = [line for line in lines if line.text.strip() and not _COMMENT.match(line.text)]
    if not filled:
        return None
    first = filled[0].text.strip()
    if first[0] in "{[":
        return _json(filled)
    if re.match(r"item\s*\{", first) or (first == "item" and [line.text.strip()[:1] for line in filled[1:2]] == ["{"]):
        return _label_map(filled)
    start = next((k for k, line in enumerate(filled) if _YAML.fullmatch(line.text.rstrip())), None)
    if start is not None:
        return _yaml(filled[start:])
    if first.startswith("version https://git-lfs"):
        raise Unclear(filled[0].number, "a Git LFS pointer in place of the file, which git lfs pull fetches")
    if re.match(r"<(?:[!?]|[A-Za-z][\w:.-]*(?:\s[^<>]*)?>)", first):
        raise Unclear(filled[0].number, "XML or HTML")
    if first.startswith(("---", "%YAML")):
        raise Unclear(filled[0].number, "YAML without names:")
    return None


def _json(lines: Sequence[Line]) -> list[Entry]:
    first = lines[0].number
    try:
        try:
            value = json.loads("\n".join(line.text for line in lines), object_pairs_hook=_pairs)
        except json.JSONDecodeError:
            if len(lines) == 1:
                raise
            value = [json.loads(line.text, object_pairs_hook=_pairs) for line in lines]  # an object a line
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Unclear(first, f"JSON that cannot be read ({reason})") from error
    found = _named(value)
    if not found:
        raise Unclear(first, "JSON that is no list of names and no map of ids to names")
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _named(value: object) -> list[Entry] | None:
    """The labels of a JSON value; None where it is none of the known forms."""
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _LISTS if isinstance(value.get(key), (list, Mapping))), None)
        if inner is not None:
            return _named(inner)
        keys = sorted(value, key=lambda key: (0, int(key)) if _is_number(key) else (1, 0))
        return _of_rows([[key, *(value[key] if isinstance(value[key], list) else [value[key]])] for key in keys])
    if not isinstance(value, list):
        return None
    if all(isinstance(one, str) for one in value):
        return [Entry(None, one.strip()) for one in value]
    if all(isinstance(one, Mapping) for one in value):
        return _of_objects(value)
    return _of_rows(value) if all(isinstance(one, list) for one in value) else None


def _of_objects(objects: Sequence[Mapping[str, Any]]) -> list[Entry] | None:
    """As in COCO's categories: {"id": 1, "name": "cat"}."""
    name = next((key for key in NAMES if all(isinstance(one.get(key), str) for one in objects)), None)
    if name is None:
        return None
    ids = [key for key in IDS if all(isinstance(one.get(key), (str, int)) for one in objects)]
    return [Entry(None, one[name].strip(), ",".join(str(one[key]) for key in ids)) for one in objects]


def _of_rows(rows: Sequence[Sequence[object]]) -> list[Entry] | None:
    """Ids beside a name, in one order throughout."""
    if not rows or not all(isinstance(cell, (str, int)) and not isinstance(cell, bool) for row in rows for cell in row):
        return None
    return rows_of_ids([Row(None, tuple(Cell(str(cell).strip(), isinstance(cell, str)) for cell in row)) for row in rows])


def _label_map(lines: Sequence[Line]) -> list[Entry]:
    """`item { id: 1 name: 'cat' }`; a display_name is the name where there is one, and the name then an id."""
    text = "\n".join(line.text for line in lines)
    items = re.findall(r"item\s*\{([^{}]*)\}", text)
    rest = re.sub(r"item\s*\{[^{}]*\}", "", text)
    found = []
    for item in items:
        fields = {key: double or single or number for key, double, single, number in _FIELD.findall(item)}
        shown, name = fields.get("display_name", ""), fields.get("name", "")
        if not (shown or name) or _FIELD.sub("", item).strip(" \n\t,;"):
            raise Unclear(lines[0].number, "a label map with an item that cannot be read")
        found.append(Entry(None, (shown or name).strip(), ",".join(one for one in (fields.get("id"), shown and name) if one)))
    if rest.strip() or not items:
        raise Unclear(lines[0].number, "a label map that cannot be read")
    return found


def _yaml(lines: Sequence[Line]) -> list[Entry]:
    """Names in one of YAML's simple forms: `- cat`, `0: cat`, or `[cat, dog]`."""
    head = lines[0]
    match = _YAML.fullmatch(head.text.rstrip())
    assert match is not None
    if match["flow"]:
        return _flow(" ".join([match["flow"], *(line.text for line in lines[1:])]), head)
    found: list[Entry] = []
    for line in lines[1:]:
        item, pair = _ITEM.fullmatch(line.text), _PAIR.fullmatch(line.text)
        if item is None and pair is None:
            if line.text[0] in " \t":
                raise Unclear(line.number, "YAML of a form that is not read here")
            break
        value, ids = (item["value"], "") if item else (pair["value"], pair["key"]) if pair else ("", "")
        found.append(Entry(line.number, _scalar(value, line), ids))
    if not found or len({bool(entry.ids) for entry in found}) > 1:
        raise Unclear(head.number, "YAML of a form that is not read here")
    return found


def _flow(text: str, head: Line) -> list[Entry]:
    """`['cat', "dog"]` or `{0: cat, 1: dog}` at the beginning of the text."""
    inner, end, _ = text[1:].partition({"[": "]", "{": "}"}.get(text[0], "\0"))
    if not end or "[" in inner or "{" in inner:
        raise Unclear(head.number, "YAML of a form that is not read here")
    parts = [part.strip() for part in re.findall(r"""(?:"[^"]*"|'(?:[^']|'')*'|[^,"']+)+""", inner)]
    found = []
    for part in (part for part in parts if part):
        key, value = part.split(":", 1) if text[0] == "{" and ":" in part else ("", part)
        if text[0] == "{" and not _is_number(key.strip()):
            raise Unclear(head.number, "YAML of a form that is not read here")
        found.append(Entry(None, _scalar(value.strip(), head), key.strip()))
    return found


def _scalar(text: str, line: Line) -> str:
    """The value without quotes and comment."""
    match = len(text) < _LONGEST and re.fullmatch(
        r"""(?:"([^"\\]*)"|'((?:[^']|'')*)'|([^\s"'&*!|>%@`{\[#].*?))(?:\s+#.*)?\s*""", text
    )
    if not match:
        raise Unclear(line.number, "YAML of a form that is not read here")
    double, single, plain = match.groups()
    return (double if double is not None else single.replace("''", "'") if single is not None else plain).strip()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12
