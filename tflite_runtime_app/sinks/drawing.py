"""What drawings share: their colours, Pillow's own font, and words cut to a length."""

from __future__ import annotations

from PIL import ImageFont

PAPER, INK, QUIET, RULE, MAIN, ACCENT = "#ffffff", "#1b1f24", "#59636e", "#d5dae0", "#0072b2", "#d55e00"

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def font(size: int) -> Font:
    """Pillow's own font; before Pillow 10.1 it has one size only."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()


def shortened(text: str, most: int = 30) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
