"""A flatbuffer with an uncompressed zip behind it whose comment is the SHA-256 of every byte before it.

The same form as the bundle's (docs/bundle.md): any TensorFlow Lite tool loads it, any zip tool lists it, and one look at the end tells
whether a byte has changed.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

from tflite_runtime_app.digest import sha256_hex
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible

DIGEST_BYTES = 64  # a SHA-256 in hex: the zip's comment, hence the file's last bytes
_END_RECORD = struct.Struct("<4s4H2LH")  # the zip's end record, up to its comment
_END_MAGIC = b"PK\x05\x06"
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError, struct.error)


def appended(flatbuffer: bytes, members: Mapping[str, bytes]) -> bytes:
    """The file's bytes, the members in the order given; the same parts give the same bytes on every machine."""
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # "w" starts at the present position, offsets count from 0
        for name, content in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # else the bytes would depend on the machine's system
            archive.writestr(info, content)
        archive.comment = b"0" * DIGEST_BYTES
    with buffer.getbuffer() as view:
        view[-DIGEST_BYTES:] = sha256_hex(view[:-DIGEST_BYTES]).encode()
    return buffer.getvalue()


def detached(data: bytes, where: str, expected: tuple[str, ...], remedy: str) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer and the members by name, every byte checked.

    Raises BundleCorrupt when the bytes are not those that were written, BundleIncompatible when the members are others than `expected`;
    `where` names the file and `remedy` says what to do.
    """
    if data[4:8] != b"TFL3":
        raise BundleCorrupt(
            f"{where}: expected a TensorFlow Lite file (TFL3), found {data[4:8]!r} of {len(data)} bytes; {remedy}"
        )
    end = data[-(_END_RECORD.size + DIGEST_BYTES) :]
    magic, *_, size, offset, comment = _END_RECORD.unpack(end[: _END_RECORD.size].ljust(_END_RECORD.size))
    if magic != _END_MAGIC or comment != DIGEST_BYTES or offset + size != len(data) - len(end):
        raise BundleCorrupt(f"{where}: expected a manifest behind the model, found none: a plain model, or cut short; {remedy}")
    if sha256_hex(memoryview(data)[:-DIGEST_BYTES]).encode() != data[-DIGEST_BYTES:]:
        raise BundleCorrupt(f"{where}: the bytes do not match the digest at the end: altered or damaged; {remedy}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if sorted(names) != sorted(expected) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise BundleIncompatible(
                    f"{where}: expected {', '.join(expected)} behind the model, found {', '.join(names)}; {remedy}"
                )
            members = {name: archive.read(name) for name in names}
            start = min(entry.header_offset for entry in entries)
    except _ZIP_ERRORS as error:
        raise BundleCorrupt(f"{where}: the zip behind the model cannot be read ({error}); {remedy}") from error
    return data[:start], members
