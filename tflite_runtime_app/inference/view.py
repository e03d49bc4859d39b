"""What of an image is looked at: which way is up, whether it is mirrored, and which part of it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from tflite_runtime_app.errors import UsageError

FLIPS = {"h": Image.Transpose.FLIP_LEFT_RIGHT, "v": Image.Transpose.FLIP_TOP_BOTTOM}
TURNS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}  # Pillow's turn leftwards
PAD = (114, 114, 114)  # grey: neither the black of night nor the white of paper
Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class View:
    """`rotate` degrees clockwise, then `flip` "h" or "v", then `crop`: "centre", "letterbox", or a region as shares of the image.

    "centre" leaves the image as it is: the model's own preprocessing takes the middle square.
    """

    rotate: int = 0
    flip: str = ""
    crop: str | Region = "centre"

    def apply(self, image: Image.Image) -> Image.Image:
        """The image as it is to be looked at; the very same object where nothing is asked for."""
        if self.rotate:
            image = image.transpose(TURNS[self.rotate])
        for letter in self.flip:
            image = image.transpose(FLIPS[letter])
        if self.crop == "letterbox":
            return letterboxed(image)
        return image if isinstance(self.crop, str) else region(image, self.crop)


def letterboxed(image: Image.Image) -> Image.Image:
    """The whole image in a grey square."""
    side = max(image.size)
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), PAD)
    square.paste(image.convert("RGB"), ((side - image.width) // 2, (side - image.height) // 2))
    return square


def region(image: Image.Image, part: Region) -> Image.Image:
    """The part `left, top, width, height`, shares of the image; at least one pixel."""
    left, top = (int(share * size) for share, size in zip(part[:2], image.size, strict=True))
    right = max(left + 1, round((part[0] + part[2]) * image.width))
    bottom = max(top + 1, round((part[1] + part[3]) * image.height))
    return image.crop((left, top, right, bottom))


def parse_crop(text: str) -> str | Region:
    """ "centre", "letterbox" or "0.1,0.2,0.5,0.5". Raises UsageError for anything else, and for a region outside the image."""
    if text in ("centre", "letterbox"):
        return text
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--crop should be centre, letterbox or LEFT,TOP,WIDTH,HEIGHT in shares of the image, found {text!r}"
        ) from None
    valid = min(left, top) >= 0 and min(width, height) > 0 and left + width <= 1.0001 and top + height <= 1.0001
    if not valid:  # NaN is not valid either
        raise UsageError(f"--crop: a region lies within 0,0,1,1, found {text!r}")
    return left, top, width, height
