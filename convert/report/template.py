"""Pages from the templates beside this module: whole HTML files that need nothing else, no network and no script."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from convert.report import formats

FILTERS = (formats.percent, formats.interval, formats.mega, formats.megabytes, formats.cosine, formats.number)


def page(name: str, **values: Any) -> str:
    """The template of that name with these values; a value that it lacks is an error, and every text is escaped."""
    from jinja2 import Environment, StrictUndefined  # late: only who draws a page pays for it

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for writer in FILTERS:
        environment.filters[writer.__name__] = writer
    source = files("convert.report").joinpath("templates", f"{name}.html").read_text("utf-8")
    text = environment.from_string(source).render(**values)
    return text.encode("utf-8", "backslashreplace").decode()  # a file name may hold bytes that are no text
