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
from tflite_runtime_app.inference.decoder import opened
from tflite_runtime_app.inference.eight_bits import depth_of, eight_bits, is_deep
from tflite_runtime_app.inference.image_kinds import EXPECTED, FORMATS, HEAD, formats_for, found_in
from tflite_runtime_app.inference.resize import resized_and_cropped
from tflite_runtime_app.inference.smaller import shrink

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


def load_image(path: str | os.PathLike[str], least: int = 0) -> Image.Image:
    """The image at `path`, decoded, upright, in its own mode; grey of more than eight bits in mode L.

    With `least`, a large JPEG may come smaller, with that many pixels a side or more (`smaller.least_side`); 0 is all that it has.
    Raises SourceError when it is missing, no image, broken, or of more pixels than Image.MAX_IMAGE_PIXELS (89 million), which would take
    hundreds of megabytes.
    """
    source = os.fspath(path)
    try:
        with open_regular(path) as file:
            return _read(file, source, least)
    except FileNotFoundError:
        raise SourceError(f"{source}: no such file") from None
    except OSError as error:
        raise SourceError(f"{source}: {EXPECTED}, found: {error.strerror or _reason(error)}") from error


def image_of(content: bytes, source: str, least: int = 0) -> Image.Image:
    """The image that these bytes of a file are, as `load_image` gives it. Raises SourceError, which names `source`."""
    return _read(io.BytesIO(content), source, least)


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
        from tflite_runtime_app.inference.jpeg_end import MOST, with_end  # late: few files are cut off

        file.seek(0)
        mended = with_end(file.read(MOST + 1))
        if mended is None:
            raise
        image = Image.open(io.BytesIO(mended), formats=("JPEG",))
        image.load()
    return image


def _read(file: IO[bytes], source: str, least: int = 0) -> Image.Image:
    """The image in a file that can be sought in, decoded and upright, as `load_image` has it. Raises SourceError, which names `source`."""
    head = file.read(HEAD)
    file.seek(0)
    formats = formats_for(head)
    try:
        if not formats:
            raise UnidentifiedImageError
        with _strict(), opened(file, head, formats) as image:
            shrink(image, least)
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

    Equals open_clip's transform (before mean and deviation, which the model holds), to 1, for upright RGB images. Others are turned
    and converted to RGB first; an alpha channel is dropped, as `Image.convert` does. Raises BundleIncompatible for a resize mode
    or interpolation that this program does not know, SourceError for an image far too long for its width or without colours.
    """
    check_preprocessing(preprocessing)
    try:
        rgb = to_rgb(upright(image))
    except ValueError as error:  # Pillow has no way from some modes to RGB
        raise SourceError(f"an image of mode {image.mode} cannot be converted to RGB: {_reason(error)}") from error
    cropped = resized_and_cropped(rgb, preprocessing)
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
