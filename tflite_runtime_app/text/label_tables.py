"""Labels in columns: CSV with a header or with a column of ids, in either order, and the older `ID TAB NAME`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tflite_runtime_app.text.label_lines import Cell, Entry, Line, Row, Unclear, are_ids, cells, has

# Heads of columns, lower case, "_" for spaces; of names the more telling first.
# fmt: off
NAMES = (
    "name", "names", "display_name", "displayname", "label_name", "labelname", "class_name", "classname", "class_names",
    "category_name", "label", "labels", "class", "classes", "category", "categories",
)
WEAK = ("description", "title", "text", "object", "species", "common_name")  # heads of names only beside a head of the others
IDS = (
    "id", "ids", "index", "idx", "no", "nr", "number", "num", "code", "#", "wnid", "wnids", "synset", "synset_id", "synsetid", "mid",
    "class_id", "classid", "class_index", "class_idx", "class_number", "label_id", "labelid", "label_index", "category_id",
    "categoryid",
)
# fmt: on
_RULE = re.compile(r"[\s|:+-]*-{3}[\s|:+-]*")  # under the head of a table in Markdown
_CODE = re.compile(r"[A-Za-z]{1,8}[-_]?\d+", re.ASCII)  # as in Q146: an id, or the name of an aeroplane


def table(lines: Sequence[Line]) -> list[Entry] | None:
    """The labels where the lines are columns, None where they are not. Raises Unclear where it cannot be told which column is which."""
    if any(has(line, "\t") for line in lines):
        return _tabs(lines)
    lines = [line for line in lines if not _RULE.fullmatch(line.text)] or lines
    for delimiter in (";", "|"):
        if all(has(line, delimiter) for line in lines):
            found = _columns([Row(line.number, cells(line, delimiter)) for line in lines])
            if found is None:
                raise Unclear(lines[0].number, f"columns between {delimiter!r} without a header or a column of ids")
            return found
    if any(has(line, ",") for line in lines):
        rows = [Row(line.number, cells(line, ",")) for line in lines]
        found = _columns(rows, spaced=", " in lines[0].text)
        if found is not None:
            return found
        if len(rows) > 1 and all(len(row.cells) > 1 and _CODE.fullmatch(row.cells[0].text) for row in rows):
            raise Unclear(rows[0].line, "what may be ids before the names")
    return _pairs(lines)


def rows_of_ids(rows: Sequence[Row]) -> list[Entry] | None:
    """The labels of rows that have ids in all columns but one; None for others. Raises Unclear for rows of ids alone."""
    widths = {len(row.cells) for row in rows}
    width = min(widths)
    if width < 2:
        return None
    ids = [k for k in range(width) if are_ids([row.cells[k] for row in rows])]
    rest = sorted({*range(width)} - {*ids})
    if not ids:
        return None
    if not rest:
        raise Unclear(rows[0].line, "ids alone")
    more = len(rest) > 1 or len(widths) > 1
    if more and (
        ids != list(range(len(ids))) or any(not cell.quoted and cell.is_id for row in rows for cell in row.cells[rest[0] :])
    ):
        raise Unclear(rows[0].line, "columns without a header")
    odd = next((row for row in rows if row.cells[rest[0]].is_id and not row.cells[rest[0]].quoted and row.line is not None), None)
    if odd is not None:
        raise Unclear(odd.line, "an id where the other lines have a name")
    # Behind the ids, what follows the first name are its synonyms: `1,cat, tomcat`.
    return [_entry(row, rest[0], ids) for row in rows if row.cells[rest[0]].name]


def _columns(rows: Sequence[Row], spaced: bool = False) -> list[Entry] | None:
    """By the header where there is one, else by the column of ids."""
    found = _headed(rows, spaced)
    if found is not None:
        return found
    if len(rows) > 2 and rows_look_headed(rows):
        raise Unclear(rows[0].line, "a header of unknown words")
    return rows_of_ids(rows)


def rows_look_headed(rows: Sequence[Row]) -> bool:
    """Whether a column is of ids but for the first row."""
    width = min(len(row.cells) for row in rows)
    return any(are_ids([row.cells[k] for row in rows[1:]]) and not rows[0].cells[k].is_id for k in range(width)) and not any(
        are_ids([row.cells[k] for row in rows]) for k in range(width)
    )


def _headed(rows: Sequence[Row], spaced: bool = False) -> list[Entry] | None:
    """The labels below a header; None where the first row is none. With blanks behind commas (`spaced`) it may be names: then all heads
    must be known.
    """
    heads, body = [_head(cell) for cell in rows[0].cells], rows[1:]
    order = (*NAMES, *WEAK)
    named = sorted((k for k, head in enumerate(heads) if head in order), key=lambda k: order.index(heads[k]))
    even = len(heads) > 1 and not spaced and all(len(row.cells) == len(heads) for row in rows)
    if not body and len(heads) > 1 and any(head in IDS for head in heads) and all(head in (*order, *IDS) for head in heads):
        raise Unclear(rows[0].line, "a header without rows")
    if not body:
        return None
    of_ids = [k for k in range(len(heads)) if even and are_ids([row.cells[k] for row in body])]
    if not named and even and len(heads) == 2 and len(of_ids) == 1 and heads[of_ids[0]] in (*IDS, ""):
        named = [1 - of_ids[0]]
    elif not named or not (
        all(head in (*order, *IDS, "") for head in heads) or (even and any(head in (*NAMES, *IDS) for head in heads))
    ):
        return None
    for row in body:
        if len(row.cells) < len(heads):
            raise Unclear(row.line, f"{len(row.cells)} columns where the header has {len(heads)}")
    words = [k for k in named if not all(row.cells[k].is_id and not row.cells[k].quoted for row in body)]
    if not words:
        raise Unclear(body[0].line, "ids where the header says that names are")
    ids = [k for k, head in enumerate(heads) if head in IDS or (k in of_ids and (head == "" or k in named))]
    ids = [k for k in ids if k != words[0]]
    return [_entry(row, words[0], ids) for row in body if row.cells[words[0]].name]


def _tabs(lines: Sequence[Line]) -> list[Entry]:
    """`ID TAB NAME` or `NAME TAB ID`, some lines perhaps a name alone. A line without a name is left out."""
    rows = [Row(line.number, cells(line, "\t")) for line in lines]
    found = _headed(rows) if len(rows[0].cells) > 1 else None
    if found is not None:
        return found
    wide = [row for row in rows if len([cell for cell in row.cells if cell.text]) > 1]
    if any(len(row.cells) > 2 for row in wide):
        found = rows_of_ids(wide) if len(wide) == len(rows) else None
        if found is None:
            raise Unclear(wide[0].line, "columns without a header")
        return found
    first, last = [row.cells[0] for row in wide], [row.cells[-1] for row in wide]
    if are_ids(last) and are_ids(first):
        raise Unclear(wide[0].line, "ids alone")
    swapped = are_ids(last)
    if swapped and len(wide) < len(rows):
        raise Unclear(next(row.line for row in rows if row not in wide), "a name without the id that the other lines have")
    odd = next((row for row in wide if not swapped and row.cells[-1].is_id and not row.cells[-1].quoted), None)
    if odd is not None:
        raise Unclear(odd.line, "an id where the other lines have a name")
    if len(wide) > 2 and rows_look_headed(wide):
        raise Unclear(wide[0].line, "a header of unknown words")
    found = []
    for row in rows:
        name, ids = (
            (row.cells[0], row.cells[-1]) if swapped else (row.cells[-1], Cell("" if len(row.cells) == 1 else row.cells[0].text))
        )
        if name.name:
            found.append(Entry(row.line, name.name, ids.text))
    return found


def _pairs(lines: Sequence[Line]) -> list[Entry] | None:
    """`cat: 0`, `0: cat`, `cat=0`; None for lines that are no pairs with an id."""
    for sign in (":", "="):
        if not all(has(line, sign) for line in lines):
            continue
        rows = [Row(line.number, cells(line, sign)) for line in lines]
        two = all(len(row.cells) == 2 for row in rows)
        if two and are_ids([row.cells[0] for row in rows]) != are_ids([row.cells[1] for row in rows]):
            return rows_of_ids(rows)
        if sign == "=" and len(rows) > 1:
            raise Unclear(lines[0].number, "settings, NAME=VALUE")
    return None


def _entry(row: Row, name: int, ids: Sequence[int]) -> Entry:
    return Entry(row.line, row.cells[name].name, ",".join(row.cells[k].text for k in ids if row.cells[k].text))


def _head(cell: Cell) -> str:
    return "_".join(cell.text.casefold().replace("-", " ").replace("_", " ").split())
