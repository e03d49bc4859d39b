"""What the signatures of a text tower's file are called; the workshop writes them, the board calls them."""

from __future__ import annotations

IDS, EMBEDDING = "ids", "embedding"


def key_of(length: int) -> str:
    """The signature for sentences of up to `length` tokens, as in text_16."""
    return f"text_{length}"
