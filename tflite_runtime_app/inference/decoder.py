"""Pillow's `Image.open` with the one decoder that a file needs: it loads five before it looks at the first byte."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import IO

from PIL import Image

# First bytes, and what in Pillow opens such a file.
_OPENERS = (
    (b"\xff\xd8\xff", "PIL.JpegImagePlugin", "jpeg_factory"),
    (b"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
)


def opened(file: IO[bytes], head: bytes, formats: Collection[str]) -> Image.Image:
    """The image in `file`, whose first bytes are `head`, not yet decoded; one of `formats`. Raises what `Image.open` raises."""
    for sign, module, name in _OPENERS:
        if head.startswith(sign):
            try:
                image: Image.Image = getattr(import_module(module), name)(file, "")
            except Exception:  # what is odd is Pillow's own to refuse, in its own words
                break
            if image.width * image.height <= (Image.MAX_IMAGE_PIXELS or 0):
                return image
            break
    file.seek(0)
    return Image.open(file, formats=tuple(formats))
