"""A shot as an image, decoded when it is looked at and not before."""

from __future__ import annotations

import io

from PIL import Image

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.preprocess import decode
from tflite_runtime_app.inference.smaller import shrink
from tflite_runtime_app.live.wire import MAX_BYTES
from tflite_runtime_app.sources.base import Shot

MAX_PIXELS = MAX_BYTES // 3


def decoded(shot: Shot, source: str, least: int = 0) -> Image.Image:
    """The image of `shot`, decoded; a JPEG may lack its end marker, and with `least` it may come smaller, as `load_image` has it.

    Raises SourceError, naming `source`, when it is broken or far too large.
    """
    if shot.kind == "rgb":
        return Image.frombytes("RGB", (shot.width, shot.height), shot.data)
    try:
        with Image.open(io.BytesIO(shot.data), formats=("JPEG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SourceError(f"{source}: expected frames of up to {MAX_PIXELS} pixels, found {image.width} x {image.height}")
            shrink(image, least)
            return decode(image)
    except SourceError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{source}: frame {shot.sequence} is broken and left out: {reason}") from error
