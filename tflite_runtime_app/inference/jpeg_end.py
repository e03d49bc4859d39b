"""A JPEG that stops before its end marker: are all its pixels there?

Cameras and cut-off copies leave the last two bytes out. A decoder cannot tell that from missing rows: it fills what it lacks and says
nothing. So it is asked whether anything is missing: the bytes are decoded with the end marker behind them, and again with noise in between.
Where a pixel still waits for its bytes, noise makes another picture of it; where none does, all pictures are the same. A progressive file
must have sent every coefficient to its last bit as well: one that lacks whole scans is a picture too, but a coarse one.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator

from PIL import Image

END = b"\xff\xd9"
MOST = 128 << 20  # bytes that are looked at: more than a JPEG of 89 million pixels takes
_START, _MARKER = b"\xff\xd8\xff", re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)  # restarts are part of a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # sequential and progressive, by Huffman codes or arithmetic
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_STRIP = 64  # rows that are compared at once
# Four that begin with the four pairs of bits: a code that waits for its end reads each of them otherwise. Each costs a decoding.
_NOISES = tuple(
    bytes([first]) + hashlib.shake_128(bytes([first])).digest(511).replace(b"\xff", b"\x5a") for first in (0x2B, 0x69, 0x96, 0xD4)
)
_INTERVALS = 16  # of a file with restart markers that are filled with noise


def with_end(content: bytes) -> bytes | None:
    """The JPEG with the end marker that it lacks, once all its pixels are there; None where it has one, or pixels are missing too."""
    scanned = _in_last_scan(content)
    if scanned is None:
        return None
    if not scanned.endswith(b"\0\0"):
        return scanned + END if _whole(scanned) else None
    # A copy that was cut off may be filled up with zeros; of a white sky the last bytes are zeros as well, but each of them is needed.
    bare = scanned.rstrip(b"\0")
    bare += b"\0" if bare.endswith(b"\xff") else b""  # which is no marker
    if _whole(bare):
        return bare + END
    return scanned + END if _whole(scanned) and not _whole(scanned[:-1]) else None


def _in_last_scan(content: bytes) -> bytes | None:
    """The content when it stops amid the scan that brings the last bits of the last coefficients; else None."""
    if not content.startswith(_START) or len(content) > MOST:
        return None
    lacking: dict[int, set[int]] = {}  # component -> coefficients of which bits are still to come
    found = False
    for code, segment in _segments(content):
        if code in _FRAMES:
            lacking = {segment[6 + 3 * k]: set(range(64)) for k in range(segment[5])}
        if code == _EOI or (code == _SOS and not lacking):
            return None
        found = code == _SOS
        if code == _SOS:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                for k in range(count):
                    lacking.get(segment[1 + 2 * k], set()).difference_update(range(first, last + 1))
    if not found or any(lacking.values()):
        return None
    return content.rstrip(b"\xff")  # the first half of the marker may be there


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Code and content of every marker segment; the scans' data are passed over. It stops where the bytes do, or make no sense."""
    at = 2
    while (marker := _MARKER.match(content, at)) is not None:
        code, at = marker[1][0], marker.end()
        if code in _BARE or code == _EOI:
            yield code, b""
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        segment = content[at + 2 : at + length]
        if length < 2 or at + length > len(content):
            yield 0, b""  # cut off within a segment
            return
        yield code, segment
        at += length
        if code == _SOS:
            following = _MARKER.search(content, at)
            if following is None:
                return
            at = following.start()
    if at < len(content):
        yield 0, b""


def _whole(scanned: bytes) -> bool:
    """Whether no pixel depends on what comes behind these bytes."""
    try:
        plain = _picture(scanned + END)
        return all(_picture(scanned + noise + END) == plain for noise in _noises(scanned))
    except Exception:  # Pillow's decoders raise nearly anything on broken bytes
        return False


def _noises(scanned: bytes) -> Iterator[bytes]:
    """What may follow these bytes; where there are restart markers, the next ones with it, or noise would end before them."""
    restarts = any(code == _DRI and any(segment) for code, segment in _segments(scanned))
    number = len(_RESTART.findall(scanned, scanned.rfind(b"\xff\xda"))) if restarts else 0
    for noise in _NOISES:
        following = (bytes([0xFF, 0xD0 + (number + k) % 8]) + noise for k in range(_INTERVALS if restarts else 0))
        yield noise + b"".join(following)


def _picture(content: bytes) -> bytes:
    """What tells the decoded pixels from others, in the memory of one image."""
    digest = hashlib.blake2b()
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        image.load()
        for top in range(0, image.height, _STRIP):
            digest.update(image.crop((0, top, image.width, min(image.height, top + _STRIP))).tobytes())
    return digest.digest()
