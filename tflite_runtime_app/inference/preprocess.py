"""From an image to the image tensor, as open_clip's evaluation transform does it, without torch."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.bundle.preprocessing import check_preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.files import open_regular
from tflite_runtime_app.inference.eight_bits import depth_of, eight_bits, is_deep
from tflite_runtime_app.inference.image_kinds import EXPECTED, FORMATS, HEAD, formats_for, found_in
from tflite_runtime_app.inference.jpeg_end import MOST, with_end

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# A strip of 1 x 10000 pixels, its shorter side brought to 224, would be half a gigapixel: a board has no memory for that.
MAX_RESIZED_PIXELS = 50_000_000

_ORIENTATION = 0x0112  # the EXIF tag: how the camera was held, 1 for upright
_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """The image at `path`, fully decoded, upright, in its own mode; grey of more than eight bits in mode L.

    Raises SourceError when it is missing, no image, broken, or of more pixels than Image.MAX_IMAGE_PIXELS (89 million), which
    would take hundreds of megabytes.
    """
    source = os.fspath(path)
    try:
        with open_regular(path) as file:
            return _read(file, source)
    except FileNotFoundError:
        raise SourceError(f"{source}: no such file") from None
    except OSError as error:
        raise SourceError(f"{source}: {EXPECTED}, found: {error.strerror or _reason(error)}") from error


def image_of(content: bytes, source: str) -> Image.Image:
    """The image that these bytes of a file are, as `load_image` gives it. Raises SourceError, which names `source`."""
    return _read(io.BytesIO(content), source)


def loaded(image: Image.Image, source: str) -> Image.Image:
    """`image`, fully decoded and upright. Raises SourceError, which names `source`, when its decoder fails."""
    try:
        return upright(image)
    except Exception as error:  # as in `_read`
        raise SourceError(f"{source}: {EXPECTED}, found: {_reason(error)}") from error


def upright(image: Image.Image) -> Image.Image:
    """`image`, decoded and turned as its EXIF orientation says; itself where it has none, or an unreadable one."""
    with _strict():
        depth = depth_of(image)
        image = decode(image)  # a TIFF file's orientation is Pillow's own to heed, on loading
    try:
        with _strict():
            turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # broken EXIF of a valid image, on which its reader raises nearly anything
        turn = None
    image = eight_bits(image, depth)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {key: value for key, value in image.info.items() if key == "transparency"}  # no orientation: it is upright now
    return turned


def decode(image: Image.Image) -> Image.Image:
    """`image` with all its pixels; a JPEG that lacks no more than its end marker is taken. Raises what its decoder raises."""
    file = getattr(image, "fp", None)
    try:
        image.load()
    except OSError:
        if image.format not in ("JPEG", "MPO") or file is None or not file.seekable():
            raise
        file.seek(0)
        mended = with_end(file.read(MOST + 1))
        if mended is None:
            raise
        image = Image.open(io.BytesIO(mended), formats=("JPEG",))
        image.load()
    return image


def _read(file: IO[bytes], source: str) -> Image.Image:
    """The image in a file that can be sought in, fully decoded and upright. Raises SourceError, which names `source`."""
    head = file.read(HEAD)
    file.seek(0)
    formats = formats_for(head)
    try:
        if not formats:
            raise UnidentifiedImageError
        with _strict(), Image.open(file, formats=formats) as image:
            return upright(image)
    except UnidentifiedImageError:
        found = found_in(head) if formats in ((), FORMATS) else f"a broken file of the kind {formats[0]}"
        raise SourceError(f"{source}: {EXPECTED}, found {found}") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes: OSError, SyntaxError, struct.error, …
        raise SourceError(f"{source}: {EXPECTED}, found: {_reason(error)}") from error


@contextmanager
def _strict() -> Iterator[None]:
    """Within, an image of too many pixels is an error, before one is decoded; other warnings are about what does no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return error.strerror  # without the path, which stands there already
    return " ".join(str(error).split()) or type(error).__name__


def image_to_tensor(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.int8]:
    """The image tensor, int8 [1, height, width, 3]: resized, centre-cropped, pixel byte b as b - 128.

    Equals open_clip's transform (before mean and deviation, which the model holds) for upright RGB images. Others are turned
    and converted to RGB first; an alpha channel is dropped, as `Image.convert` does. Raises BundleIncompatible for a resize mode
    or interpolation that this program does not know, SourceError for an image far too long for its width or without colours.
    """
    check_preprocessing(preprocessing)
    try:
        rgb = to_rgb(upright(image))
    except ValueError as error:  # Pillow has no way from some modes to RGB
        raise SourceError(f"an image of mode {image.mode} cannot be converted to RGB: {_reason(error)}") from error
    cropped = _resize_and_crop(rgb, preprocessing)
    pixels = np.asarray(cropped, dtype=np.uint8)
    return (pixels ^ np.uint8(0x80)).view(np.int8)[np.newaxis]  # flipping the top bit is b - 128 in two's complement


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB; of more than eight bits as `eight_bits` has it, where Pillow's own conversion would clip it to white."""
    if image.mode == "RGB":
        return image
    if is_deep(image):
        return eight_bits(image, depth_of(image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # the same pixels as in one step, without Pillow's warning
    return image.convert("RGB")


def _resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
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
    resized = image.resize(size, resampling)
    left = _offset(resized.width, width)
    top = _offset(resized.height, height)
    return resized.crop((left, top, left + width, top + height))


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
