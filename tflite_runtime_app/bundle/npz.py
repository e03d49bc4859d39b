"""Arrays to an npz file and back. What a file of unknown origin takes is known, and bounded, before any of it is made.

`np.load` believes a member's header, and what is packed a thousandfold it unpacks; a board has no memory for either. `np.savez` writes the
time of day.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.container import member
from tflite_runtime_app.errors import in_one_line

MAX_BYTES = 256 << 20  # of one array, unpacked: a hundred thousand labels of 1024 float16 are 205 MB
_npy: Any = np.lib.format  # numpy ships no types for it
_HEADERS = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]], packed: bool = False) -> bytes:
    """The arrays as an npz file, deflated where `packed`. The same arrays give the same bytes on every run and machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            archive.writestr(member(f"{key}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return buffer.getvalue()


def read_npz(content: bytes, keys: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these names. Raises ValueError, in one line, for a file that lacks one, is damaged, or holds no plain arrays."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            missing = [key for key in keys if f"{key}.npy" not in names]
            if missing:
                raise ValueError(f"lacks {', '.join(missing)}")
            return {key: _array(archive, key) for key in keys}
    except Exception as error:  # zipfile and zlib, and numpy's header parser, raise nearly anything on damaged bytes
        raise ValueError(in_one_line(error)) from error


def _array(archive: zipfile.ZipFile, key: str) -> npt.NDArray[Any]:
    entry = archive.getinfo(f"{key}.npy")
    if entry.file_size > MAX_BYTES:
        raise ValueError(f"{key} takes {entry.file_size} bytes, more than {MAX_BYTES}")
    stream = io.BytesIO(archive.read(entry))  # zipfile unpacks no more than the size stated
    version = _npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"{key} has npy format {version}, expected 1.0 or 2.0")
    shape, columns_first, kind = _HEADERS[version](stream)
    stated, found = math.prod(shape) * kind.itemsize, len(stream.getbuffer()) - stream.tell()
    if kind.hasobject or min(shape, default=0) < 0 or stated != found:
        raise ValueError(f"{key} is stated as {kind} {shape}, {stated} bytes, found {found}")
    if kind.kind == "U" and not _is_text(stream.getvalue(), stream.tell(), kind):
        raise ValueError(f"{key} holds numbers that are no letters")
    values = np.frombuffer(stream.getvalue(), kind, math.prod(shape), stream.tell()) if stated else np.zeros(shape, kind)
    return values.reshape(shape, order="F" if columns_first else "C")


def _is_text(content: bytes, start: int, kind: np.dtype[Any]) -> bool:
    """Whether there are only code points of Unicode: of others Python makes strings that break it later."""
    letters = np.frombuffer(content, f"{'>' if kind.byteorder == '>' else '<'}u4", -1, start)
    return not bool(np.any((letters > 0x10FFFF) | ((letters >= 0xD800) & (letters <= 0xDFFF))))
