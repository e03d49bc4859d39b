"""The newest image as a JPEG, made only when somebody looks, and for all who look at once."""

from __future__ import annotations

import io
import secrets
import threading
import time
from dataclasses import dataclass

from PIL import Image

from tflite_runtime_app.sinks.web.limit import Clock

MAX_SIDE, QUALITY, MIN_SECONDS = 960, 80, 0.1


@dataclass(frozen=True, slots=True)
class Jpeg:
    """An image as it is sent; `etag` (quoted) tells it from every other, those of an earlier run too."""

    etag: str
    data: bytes


class NewestImage:
    """`show` from the loop, which costs nothing; `jpeg` from any thread. Holds one image and one JPEG."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._run = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._newest: tuple[int, Image.Image] | None = None
        self._made: Jpeg | None = None
        self._made_number, self._made_at = 0, 0.0

    def show(self, image: Image.Image) -> None:
        """`image` is the newest; it must not be changed from now on."""
        with self._lock:
            self._newest = (self._newest[0] + 1 if self._newest else 1, image)

    def newest(self) -> str | None:
        """The etag that the newest image has, or would have; None while there is none."""
        newest = self._newest
        return self._etag(newest[0]) if newest else None

    def jpeg(self) -> Jpeg | None:
        """The newest image, its longer side at most 960 pixels, None while there is none.

        Each is encoded once at most, and none within a tenth of a second after another: meanwhile the one before stands.
        """
        with self._encoding:  # whoever comes second waits for the bytes of the first
            newest = self._newest
            if newest is None:
                return None
            number, image = newest
            fresh = self._made is not None and self._clock() - self._made_at < MIN_SECONDS
            if number != self._made_number and not fresh:
                self._made = Jpeg(self._etag(number), _encode(image))
                self._made_number, self._made_at = number, self._clock()
            return self._made

    def _etag(self, number: int) -> str:
        return f'"{self._run}-{number}"'


def _encode(image: Image.Image) -> bytes:
    small = image.convert("RGB")  # a copy where it already is RGB: thumbnail works in place
    if small is image:
        small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
