"""A JPEG decoded smaller than it is: its decoder leaves out what resizing would average away anyway."""

from __future__ import annotations

from PIL import Image

from tflite_runtime_app.bundle.manifest import Preprocessing

RATIO = 8  # pixels that are left for each of the tensor's; with fewer some come out 2 of 255 off
_SCALES = (8, 4, 2)  # that the decoder knows


def least_side(preprocessing: Preprocessing) -> int:
    """The pixels that each side of an image must keep to give the same tensor, to 1 of 255 in a photograph."""
    return RATIO * max(preprocessing.height, preprocessing.width)


def shrink(image: Image.Image, least: int) -> None:
    """`image`, opened and not yet loaded, will be loaded at half, a quarter or an eighth of its size where `least` pixels a side stay.

    Only a JPEG in colours or grey whose sides divide by that: each of its pixels is then the average of as many. 0 leaves it as it is.
    """
    # In CMYK colours are products, and the average of products is not the product of averages.
    if not least or image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return
    width, height = image.size
    for scale in _SCALES:
        if min(width, height) >= least * scale and width % scale == height % scale == 0:
            image.draft(None, (width // scale, height // scale))
            return
