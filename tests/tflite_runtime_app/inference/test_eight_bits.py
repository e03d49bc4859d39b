"""Images of more than eight bits: scaled by what they hold, or refused with the numbers found; never black or white without a word."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from calibration.samples import Sample, load
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.preprocess import image_of, image_to_tensor, to_rgb

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def tiff(values: np.ndarray, tags: dict[int, int] | None = None, kind: str = "TIFF") -> bytes:
    directory, buffer = ImageFileDirectory_v2(), io.BytesIO()
    for tag, value in (tags or {}).items():
        directory[tag] = value
    options = {"tiffinfo": directory} if kind == "TIFF" else {}
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def raw_tiff(values: np.ndarray, sample_format: int, colours: int = 1) -> bytes:
    """A TIFF of whatever numbers, in the byte order of their type, as programs of science write it."""
    order = "<" if values.dtype.newbyteorder("=") == values.dtype or values.dtype.str[0] in "<|" else ">"
    bits = values.dtype.itemsize * 8
    tags = [(256, 8), (257, 8), (258, bits), (259, 1), (262, 2 if colours == 3 else 1), (273, 0), (277, colours), (278, 8)]
    tags += [(279, values.nbytes), (284, 1), (339, sample_format)]
    extra = 8 + 2 + 12 * len(tags) + 4
    data = extra + (6 if colours == 3 else 0)
    entries = b""
    for tag, value in tags:
        if tag == 258 and colours == 3:
            entries += struct.pack(order + "HHII", tag, 3, 3, extra)
        elif tag == 273:
            entries += struct.pack(order + "HHII", tag, 4, 1, data)
        else:
            entries += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + struct.pack(order + "H", len(tags))
    more = struct.pack(order + "HHH", bits, bits, bits) if colours == 3 else b""
    return head + entries + struct.pack(order + "I", 0) + more + values.tobytes()


def png16(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a colour, which Pillow reads and does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def grey(content: bytes) -> np.ndarray:
    return np.asarray(to_rgb(image_of(content, "x")))[..., 0].astype(int)


WHOLE = {
    "float to 1": tiff(RAMP.astype(np.float32)),
    "float to 1.0000001": tiff((RAMP * 1.0000001).astype(np.float32)),
    "float to 255": tiff((RAMP * 255).astype(np.float32)),
    "float to 65535": tiff((RAMP * 65535).astype(np.float32)),
    "big-endian float": raw_tiff(RAMP.astype(">f4"), 3),
    "16 bits": tiff((RAMP * 65535).astype(np.uint16)),
    "big-endian 16 bits": raw_tiff((RAMP * 65535).astype(">u2"), 1),
    "16 bits in PNG": tiff((RAMP * 65535).astype(np.uint16), kind="PNG"),
    "signed 16 bits": raw_tiff((RAMP * 32767).astype("<i2"), 2),
    "12 bits of 16 as a TIFF says": tiff((RAMP * 4095).astype(np.uint16), {281: 4095}),
    "signed 32 bits": raw_tiff((RAMP * (2**31 - 1)).astype("<i4"), 2),
    "32 bits": raw_tiff((RAMP * (2**32 - 1)).astype("<u4"), 1),
    "16 bits of 32": raw_tiff((RAMP * 65535).astype("<u4"), 1),
    "16 bits of signed 32": tiff((RAMP * 65535).astype(np.int32)),
    "12 bits as a PGM says": b"P5 8 8 4095\n" + (RAMP * 4095).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_all_of_the_range_is_used(kind):
    assert np.abs(grey(WHOLE[kind]) - RAMP * 255).max() <= 1


UNCLEAR = {
    "12 bits of 16": (tiff((RAMP * 4095).astype(np.uint16)), "grey values up to 4095, where 65535 is white"),
    "12 bits of 16 in PNG": (tiff((RAMP * 4095).astype(np.uint16), kind="PNG"), "up to 4095"),
    "8 bits of 16": (tiff((RAMP * 255).astype(np.uint16)), "up to 255"),
    "12 bits of 32": (raw_tiff((RAMP * 4095).astype("<u4"), 1), "up to 4095"),
    "negative": (raw_tiff((RAMP * 60000 - 30000).astype("<i2"), 2), "from -30000 to 30000"),
    "float around 0": (tiff((RAMP * 2 - 1).astype(np.float32)), "from -1 to 1"),
    "float to 4": (tiff((RAMP * 4).astype(np.float32)), "from 0 to 4"),
    "float to 0.03": (tiff((RAMP * 0.03).astype(np.float32)), "from 0 to 0.03"),
    "float to 1000": (tiff((RAMP * 1000).astype(np.float32)), "from 0 to 1000"),
    "one is no number": (tiff(np.where(RAMP == 1, np.nan, RAMP).astype(np.float32)), "infinite or none at all"),
    "one is infinite": (tiff(np.where(RAMP == 1, np.inf, RAMP).astype(np.float32)), "infinite or none at all"),
    "12 bits of 16 in colour": (png16((np.stack([RAMP] * 3, -1) * 4095).astype(np.uint16)), "16 bits a colour"),
    "12 bits of 16 in a colour TIFF": (raw_tiff((np.stack([RAMP] * 3, -1) * 4095).astype("<u2"), 1, 3), "16 bits a colour"),
    "12 bits of 16 in a colour PPM": (
        b"P6 8 8 65535\n" + (np.stack([RAMP] * 3, -1) * 4095).astype(">u2").tobytes(),
        "16 bits a colour",
    ),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_would_come_out_black_is_refused_with_what_was_found(kind):
    content, found = UNCLEAR[kind]
    with pytest.raises(SourceError, match=rf"^x: expected an image [^\n]*{found}[^\n]*scale"):
        image_of(content, "x")
    (said,) = load([Sample("x", "a", content)], Preprocessing(4, 4)).skipped
    assert found in said, "calibration as well"


def test_sixteen_bits_of_colour_that_use_them_are_read():
    assert np.abs(grey(png16((np.stack([RAMP] * 3, -1) * 65535).astype(np.uint16))) - RAMP * 255).max() <= 1
    assert np.abs(grey(raw_tiff((np.stack([RAMP] * 3, -1) * 65535).astype("<u2"), 1, 3)) - RAMP * 255).max() <= 1


def test_black_is_black_however_it_is_scaled():
    for values in (np.zeros((8, 8), np.uint16), np.zeros((8, 8), np.float32), np.zeros((8, 8), np.int32)):
        assert grey(tiff(values)).max() == 0


def test_a_dark_image_of_sixteen_bits_stays_dark():
    assert abs(grey(tiff((RAMP * 6000).astype(np.uint16))).max() - 6000 / 257) <= 1


def test_an_image_that_never_was_a_file_is_judged_too():
    with pytest.raises(SourceError, match="up to 4095"):
        image_to_tensor(Image.fromarray((RAMP * 4095).astype(np.uint16)), Preprocessing(4, 4))


def test_twelve_packed_bits_are_twelve():
    values = (RAMP * 4095).astype(int).reshape(-1, 2)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.tolist())
    content = bytearray(raw_tiff((RAMP * 4095).astype("<u2"), 1))
    at = content.index(struct.pack("<HHIHH", 258, 3, 1, 16, 0))
    content[at : at + 12] = struct.pack("<HHIHH", 258, 3, 1, 12, 0)
    content[-128:] = packed
    assert np.abs(grey(bytes(content)) - RAMP * 255).max() <= 1
