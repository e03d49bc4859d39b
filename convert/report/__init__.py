"""The report of one build: a page for people, the same data as JSON for programs, and a table for the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convert.report.terminal import summary_table
from convert.support.files import write_atomically

__all__ = ["summary_table", "write_report"]


def write_report(folder: Path, data: dict[str, Any], bundle: Path) -> Path:
    """`folder` holds index.html and report.json; the path of the former. The page is drawn from exactly what the JSON holds."""
    from convert.report.build_page import render

    text = json.dumps(data, indent=1, ensure_ascii=False)
    page = render(json.loads(text), bundle)
    write_atomically(folder / "report.json", text.encode())
    write_atomically(folder / "index.html", page.encode())
    return folder / "index.html"
