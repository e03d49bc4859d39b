"""A matplotlib figure as SVG text that lives inside a page: transparent, in the page's colours, text as text."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any

# What a plot is drawn with, and what stands there on the page: CSS decides, for light and dark.
INK, PAPER, MAIN, ACCENT = "#010203", "#fdfeff", "#0072b2", "#d55e00"
_ON_PAGE = {INK: "currentColor", PAPER: "var(--paper)", MAIN: "var(--main)", ACCENT: "var(--accent)"}

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
}


def style() -> AbstractContextManager[None]:
    """While it is entered, matplotlib draws in the report's style; afterwards its settings are what they were."""
    import matplotlib

    context: AbstractContextManager[None] = matplotlib.rc_context(_SETTINGS)
    return context


def inline_svg(figure: Any, name: str, label: str) -> str:
    """The figure as one <svg> element. `name` keeps its ids apart from other plots', `label` is what a screen reader says."""
    target = io.StringIO()
    with style():
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for drawn, shown in _ON_PAGE.items():
        text = text.replace(drawn, shown)
    size = r'(<svg[^>]*?) width="[^"]*" height="[^"]*"'
    return re.sub(size, rf'\g<1> role="img" aria-label="{label}"', text, count=1).strip()
