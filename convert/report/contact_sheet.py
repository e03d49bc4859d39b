"""Contact sheets: the images that leaving early rescued or harmed, each with its label and what was answered."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ACROSS, SIDE, GAP, LINE = 8, 120, 8, 14
MOST = 48


def contact_sheet(images: NDArray[np.int8], captions: Sequence[tuple[str, ...]], title: str) -> bytes:
    """A PNG of at most `MOST` image tensors [n, H, W, 3], with lines of text under each."""
    count = min(len(images), MOST)
    lines = max((len(lines) for lines in captions[:count]), default=0)
    rows = -(-count // ACROSS)
    width, height = ACROSS * (SIDE + GAP) + GAP, rows * (SIDE + lines * LINE + 2 * GAP) + 36
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    draw.text((GAP, GAP), title, "black", ImageFont.load_default(15))
    for k in range(count):
        row, column = divmod(k, ACROSS)
        left, top = GAP + column * (SIDE + GAP), 36 + row * (SIDE + lines * LINE + 2 * GAP)
        image = Image.fromarray((images[k].astype(np.int16) + 128).astype(np.uint8))
        scale = SIDE / max(image.size)
        sheet.paste(
            image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC), (left, top)
        )
        for number, text in enumerate(captions[k]):
            draw.text((left, top + SIDE + 2 + number * LINE), _fitting(draw, text, font), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut so that it fits under an image."""
    while text and draw.textlength(text, font) > SIDE:
        text = text[:-2].rstrip("…") + "…"
    return text
