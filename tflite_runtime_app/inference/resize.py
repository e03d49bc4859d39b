"""An image brought to the size of the image tensor: what the tensor does not hold is not computed.

Resizing the whole image and cutting the middle out of it is what open_clip does. Here the part that stays is resized alone, with the
same weights, and a large image is first averaged over squares of whole pixels. Each costs at most 1 of 255.
"""

from __future__ import annotations

import math

from PIL import Image

from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
GAP = 6.0  # pixels a pixel that averaging leaves; with 4 some pixels of photographs are 2 of 255 off

# A strip of 1 x 10000 pixels, its shorter side brought to 224, would be half a gigapixel: a board has no memory for that.
MAX_RESIZED_PIXELS = 50_000_000

FEW_PIXELS = 640 * 480  # resized as a whole in a millisecond, and then to the bit as open_clip does it
TALL = 2  # times as high as wide; above that newer Pillows resize rows first, which shows at hard edges
_Span = tuple[float, float]  # from where to where, in pixels of a side


def resized_and_cropped(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """`image` in the size that `preprocessing` asks for. Raises SourceError for one that is far too long for its width."""
    height, width = preprocessing.height, preprocessing.width
    if preprocessing.resize_mode == "squash":
        return image.resize((width, height), RESAMPLING[preprocessing.interpolation])
    if height == width:
        size, resampling = _shorter_side_to(image, height), RESAMPLING[preprocessing.interpolation]
    else:
        # For a target that is not square open_clip takes bicubic whatever the configuration says; weights were trained so.
        size, resampling = _cover(image, width, height), Image.Resampling.BICUBIC
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        raise SourceError(f"an image of {image.width} x {image.height} is too long for its other side; crop it first")
    left, top = _offset(size[0], width), _offset(size[1], height)
    few = image.width * image.height <= FEW_PIXELS
    if few or image.height > TALL * image.width or min(image.size) < min(width, height):
        return image.resize(size, resampling).crop((left, top, left + width, top + height))
    columns, rows = _span(image.width / size[0], left, width), _span(image.height / size[1], top, height)
    return _part(image, (width, height), resampling, (columns, rows))


def _part(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling, part: tuple[_Span, _Span]) -> Image.Image:
    """The `part` of the image, its columns and rows, in that size: first its columns are resized, then its rows.

    It is averaged before where there are enough pixels along both sides: along one alone it shows.
    """
    columns, rows = part
    scales = [(span[1] - span[0]) / pixels for span, pixels in zip(part, size, strict=True)]
    left, right = _reach(columns, scales[0], image.width)
    top, bottom = _reach(rows, scales[1], image.height)
    if min(scales) >= 2 * GAP:
        factors = int(scales[0] / GAP), int(scales[1] / GAP)
        image = image.reduce(factors, box=(left, top, right, bottom))
    else:
        factors, left = (1, 1), 0
        if bottom - top < image.height:
            image = image.crop((0, top, image.width, bottom))
    first, last = ((x - left) / factors[0] for x in columns)
    image = image.resize(
        (size[0], image.height), resampling, box=(first, 0.0, min(last, float(image.width)), float(image.height))
    )
    first, last = ((y - top) / factors[1] for y in rows)
    return image.resize(size, resampling, box=(0.0, first, float(size[0]), min(last, float(image.height))))


def _reach(span: _Span, scale: float, side: int) -> tuple[int, int]:
    """From where to where, in whole pixels, lies what a part of a side is made of, the reach of the widest kernel counted in."""
    reach = 2 * max(scale, 1.0) + 1
    return max(0, math.floor(span[0] - reach)), min(side, math.ceil(span[1] + reach))


def _shorter_side_to(image: Image.Image, target: int) -> tuple[int, int]:
    """torchvision's Resize(int): the shorter side becomes `target`, the longer one is cut down to an integer."""
    if image.width <= image.height:
        return target, int(target * image.height / image.width)
    return int(target * image.width / image.height), target


def _cover(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """open_clip's ResizeKeepRatio: the smallest size of the image's shape that covers width x height, rounded."""
    ratio = min(image.height / height, image.width / width)
    return round(image.width / ratio), round(image.height / ratio)


def _offset(size: int, crop: int) -> int:
    return round((size - crop) / 2.0)  # halves to even, as torchvision has it


def _span(scale: float, first: int, count: int) -> _Span:
    """What `count` resized pixels from the one numbered `first` are made of."""
    return first * scale, (first + count) * scale
