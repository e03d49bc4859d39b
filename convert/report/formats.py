"""How numbers are written, on the page and on the terminal alike; a missing one is said to be missing."""

from __future__ import annotations

from convert.report.wilson import wilson

MISSING = "not measured"
SPACE = "\u00a0"  # keeps a number and its unit on one line


def percent(share: float | None) -> str:
    """0.689 as 68.9 %."""
    return MISSING if share is None else f"{share * 100:.1f}{SPACE}%"


def bounds(share: float | None, n: int) -> str:
    """The 95 % Wilson interval of a share seen on n images in percent, as 66.9–70.8; empty when there is no share."""
    if share is None:
        return ""
    low, high = wilson(share, n)
    return f"{low * 100:.1f}–{high * 100:.1f}"


def interval(share: float | None, n: int) -> str:
    """`bounds` with its unit, as 66.9–70.8 %."""
    return "" if share is None else f"{bounds(share, n)}{SPACE}%"


def mega(count: float | None) -> str:
    """564048384 as 564.0, in millions; small ones with a second digit, as 0.10."""
    if count is None:
        return MISSING
    return f"{count / 1e6:.1f}" if count >= 1e6 else f"{count / 1e6:.2f}"


def megabytes(size: int) -> str:
    """22902456 as 22.9 MB; a megabyte is a million bytes."""
    return f"{size / 1e6:.1f}{SPACE}MB"


def cosine(value: float | None) -> str:
    """0.89247 as 0.892."""
    return MISSING if value is None else f"{value:.3f}"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with so many digits after the point."""
    return MISSING if value is None else f"{value:.{digits}f}"
