"""Images of more than eight bits a pixel, brought to eight by what they hold; refused where that cannot be told.

Whole numbers are scaled by what the file says is white: 2^bits - 1 or, in TIFF, MaxSampleValue; 32 bits that hold sixteen by 65535. Real
numbers reach 1, 255 or 65535. An image whose brightest pixel stays under a sixteenth of that would be answered as black: it may be one of
12 bits in a file of 16, or a night, and nothing tells which. It is refused, as are negative numbers and those that are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_BITS, _MOST, _FORMAT = 258, 281, 339  # TIFF's tags BitsPerSample, MaxSampleValue and SampleFormat
_UNSIGNED = 1
_WHITES = (1.0, 255.0, 65535.0)  # that real numbers are scaled by
_DARK = 16  # parts of white; the brightest pixel reaches one of them
_STRIP = 256  # rows that are scaled at once: arithmetic would take ten times the image
_COLOURS = ("RGB", "RGBA", "LA", "L")


@dataclass(frozen=True, slots=True)
class Depth:
    """What a file says of its numbers: `white` is the largest, `unsigned` those of 32 bits without a sign.

    `cut` is a file of 16 bits of which Pillow gives the upper eight.
    """

    white: int = 65535
    unsigned: bool = False
    cut: bool = False


def depth_of(image: Image.Image) -> Depth:
    """What the file of an image that is not yet loaded says."""
    if not is_deep(image):
        return Depth(cut=image.mode in _COLOURS and any(_is_wide(*tile) for tile in getattr(image, "tile", ())))
    tags = getattr(image, "tag_v2", None)
    if not tags:
        return Depth()
    bits, unsigned = _number(tags.get(_BITS), 1), _number(tags.get(_FORMAT), _UNSIGNED) == _UNSIGNED
    white = 2 ** (bits if unsigned else bits - 1) - 1
    stated = _number(tags.get(_MOST), white)
    return Depth(stated if 0 < stated < white else white, unsigned and bits == 32)


def is_deep(image: Image.Image) -> bool:
    """Whether its pixels are single numbers of more than eight bits."""
    return image.mode == "F" or image.mode.startswith("I")


def eight_bits(image: Image.Image, depth: Depth) -> Image.Image:
    """The loaded image with eight bits a colour. Raises ValueError, with the numbers found, for one that would come out black or white."""
    if depth.cut:
        if max(high for _, high in _extrema(image)) <= 256 // _DARK:
            raise ValueError("16 bits a colour of which the upper four are never used; scale the colours to 65535")
        return image
    if not is_deep(image):
        return image
    values = np.asarray(image)
    if depth.unsigned:
        values = values.view(np.uint32)
    if image.mode == "F" and not np.isfinite(values).all():
        raise ValueError(
            "real numbers of which some are infinite or none at all; put numbers in their place and scale them to 0..1"
        )
    low, high = values.min().item(), values.max().item()
    white = _white_of_reals(low, high) if image.mode == "F" else _white_of_integers(low, high, depth.white)
    return Image.fromarray(_scaled(values, white))


def _white_of_integers(low: int, high: int, white: int) -> float:
    if white > 65535 >= high:
        white = 65535
    if low < 0 or high > white:
        raise ValueError(f"grey values from {low} to {high}, where 0 is black and {white} white; scale them to that")
    if 0 < high * _DARK <= white:
        raise ValueError(
            f"grey values up to {high}, where {white} is white: black, or of fewer bits than the file's; "
            f"scale them to {white}, or state MaxSampleValue in a TIFF"
        )
    return white


def _white_of_reals(low: float, high: float) -> float:
    if low == high == 0:
        return 1.0
    for white in _WHITES:
        if round(low / white * 255) >= 0 and high / white >= 1 / _DARK and round(high / white * 255) <= 255:
            return white
    raise ValueError(
        f"real numbers from {low:g} to {high:g}, where 0 is black and 1, 255 or 65535 white; scale them to one of these"
    )


def _scaled(values: npt.NDArray[Any], white: float) -> npt.NDArray[np.uint8]:
    found = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIP):
        strip = values[top : top + _STRIP].astype(np.float64)
        found[top : top + _STRIP] = np.clip(np.floor(strip * (255 / white) + 0.5), 0, 255)
    return found


def _extrema(image: Image.Image) -> tuple[tuple[int, int], ...]:
    """Least and largest of every colour, transparency left out."""
    colours = image.convert(image.mode.removesuffix("A")) if image.mode in ("LA", "RGBA") else image
    found: Any = colours.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _is_wide(codec: str, box: Any, offset: int, arguments: Any) -> bool:
    """Whether a tile's pixels have 16 bits a colour in the file."""
    if codec.startswith("ppm"):
        return int(arguments[-1]) > 255
    return ";16" in str(arguments)


def _number(tag: Any, otherwise: int) -> int:
    """The first number of a tag."""
    first = tag[0] if isinstance(tag, tuple) and tag else tag
    return first if isinstance(first, int) else otherwise
