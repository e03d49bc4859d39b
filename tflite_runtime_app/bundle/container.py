"""A flatbuffer with an uncompressed zip behind it whose comment is the SHA-256 of every byte before it (docs/bundle.md).

Any TensorFlow Lite tool loads it, any zip tool lists it, and one look at the end tells whether a byte has changed.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible

DIGEST_BYTES = 64  # a SHA-256 in hex: the zip's comment, hence the file's last bytes
_END_RECORD = struct.Struct("<4s4H2LH")  # the zip's end record, up to its comment
_END_BYTES = _END_RECORD.size + DIGEST_BYTES
_END_MAGIC, _MEMBER_MAGIC = b"PK\x05\x06", b"PK\x03\x04"
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError, struct.error)


def appended(flatbuffer: bytes, members: Mapping[str, bytes]) -> bytes:
    """The file's bytes, the members in the order given; the same parts give the same bytes on every machine.

    Raises BundleIncompatible for what is no flatbuffer.
    """
    if flatbuffer[4:8] != b"TFL3":
        raise BundleIncompatible(
            f"expected a TensorFlow Lite file (TFL3), found {flatbuffer[4:8]!r}; pass the converter's output"
        )
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # "w" starts at the present position, offsets count from 0
        for name, content in members.items():
            archive.writestr(member(name), content)
        archive.comment = b"0" * DIGEST_BYTES
    with buffer.getbuffer() as view:
        view[-DIGEST_BYTES:] = sha256_hex(view[:-DIGEST_BYTES]).encode()
    return buffer.getvalue()


def member(name: str) -> zipfile.ZipInfo:
    """A zip member of that name whose bytes depend on neither the time of day nor the machine's system."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    return info


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A file taken apart: the flatbuffer, which is everything before the first member, its SHA-256, and the members by name."""

    flatbuffer: bytes
    flatbuffer_sha256: str
    members: dict[str, bytes]


def detached(file: IO[bytes], path: Path, allowed: Collection[str], remedy: str) -> Parts:
    """The parts of an open file, every byte checked; it is read once and hashed once.

    Raises BundleCorrupt when the bytes are not those that were written, BundleIncompatible for a plain model and for members that are not
    `allowed`, OSError when they cannot be read; `path` names the file and `remedy` says what to do.
    """
    front, behind = _halves(file)
    digest = hashlib.sha256(front)
    front_sha256 = digest.hexdigest()
    digest.update(memoryview(behind)[:-DIGEST_BYTES])
    _check_whole(front, behind, digest.hexdigest(), path, remedy)
    try:
        with zipfile.ZipFile(io.BytesIO(behind)) as archive:  # which counts its offsets from where it really begins
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if set(names) - set(allowed) or packed or len(set(names)) != len(names):
                raise BundleIncompatible(
                    f"{path}: expected {', '.join(allowed)}, each once and uncompressed, found {', '.join(names)}"
                    f"{' (compressed)' if packed else ''}; {remedy}"
                )
            members = {name: archive.read(name) for name in names}
    except _ZIP_ERRORS as error:
        raise BundleCorrupt(f"{path}: the zip behind the model cannot be read ({error}); {remedy}") from error
    return Parts(front, front_sha256, members)


def _halves(file: IO[bytes]) -> tuple[bytes, bytes]:
    """The file's bytes up to the first member of its zip, and those from there on; all of them in the second where there is none."""
    try:
        with zipfile.ZipFile(file) as archive:  # which reads the end and the directory alone
            start = min((entry.header_offset for entry in archive.infolist()), default=0)
    except _ZIP_ERRORS:
        start = 0
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    front = file.read(start if 0 < start <= size - _END_BYTES else 0)
    return front, file.read()


def _check_whole(front: bytes, behind: bytes, digest: str, path: Path, remedy: str) -> None:
    """Returns when the file is a flatbuffer that ends in a zip whose comment is the `digest` of all bytes before it."""
    kind, length = (front[:8] + behind[:8])[4:8], len(front) + len(behind)
    if kind != b"TFL3":
        raise BundleCorrupt(f"{path}: expected a TensorFlow Lite file (TFL3), found {kind!r} of {length} bytes; {remedy}")
    end = behind[-_END_BYTES:]
    magic, *_, size, offset, comment = _END_RECORD.unpack(end[: _END_RECORD.size].ljust(_END_RECORD.size))
    if magic != _END_MAGIC or comment != DIGEST_BYTES:
        if _MEMBER_MAGIC not in behind and _END_MAGIC not in behind:
            raise BundleIncompatible(
                f"{path}: a TensorFlow Lite file without a manifest behind it (a plain model, or a file cut short); {remedy}"
            )
        raise BundleCorrupt(f"{path}: expected the zip's end record, found other bytes: truncated or altered; {remedy}")
    if digest.encode() != behind[-DIGEST_BYTES:]:
        raise BundleCorrupt(f"{path}: the bytes do not match the digest at the end: altered or damaged; {remedy}")
    if offset + size != length - len(end):
        raise BundleIncompatible(f"{path}: the zip's offsets do not count from the start of the file; {remedy}")
