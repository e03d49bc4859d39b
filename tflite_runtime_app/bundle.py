"""The bundle: a TensorFlow Lite file with an uncompressed zip behind it, checked to the last byte before it is used."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tflite_runtime_app.digest import sha256_hex
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible
from tflite_runtime_app.labels import LabelBank, check_space, read_labels
from tflite_runtime_app.manifest import Manifest, from_json, to_json
from tflite_runtime_app.remembered import Remembered, from_bytes
from tflite_runtime_app.structure import check_structure

MANIFEST, LABELS, REPORT, REMEMBERED = "manifest.json", "labels.npz", "report.json", "remembered.npz"
_EXTRA_MEMBERS = frozenset({LABELS, REPORT, REMEMBERED})
_DIGEST_BYTES = 64  # a SHA-256 in hex: the zip's comment, hence the file's last bytes
_END_RECORD = struct.Struct("<4s4H2LH")  # the zip's end record, up to its comment
_END_MAGIC, _MEMBER_MAGIC = b"PK\x05\x06", b"PK\x03\x04"
_AGAIN = "copy it again, or build it again with: convert build"
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError, struct.error)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose every byte was checked. `labels` is None when it was built without any, `report` then may be {}.

    `remembered` are the outputs of calibration images, None in a bundle that was calibrated on none.
    """

    path: Path
    flatbuffer: bytes
    manifest: Manifest
    labels: LabelBank | None
    report: dict[str, Any]
    remembered: Remembered | None = None


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """The bundle at `path`: digests match, every member is known, the manifest is coherent, labels are of its space.

    The file is read once. Raises BundleCorrupt when its bytes are not those that were written, BundleIncompatible when it
    is no bundle of this program's, LabelError when its label matrix is refused.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BundleCorrupt(f"{path}: no such file; build a bundle with: convert build") from None
    except OSError as error:
        raise BundleCorrupt(f"{path}: expected a readable file, found: {error.strerror}; check the path") from error
    _check_whole(data, path)
    flatbuffer, members = _split(data, path)
    manifest = _read_manifest(members, path)
    _check_members(flatbuffer, members, manifest, path)
    check_structure(manifest)
    labels = read_labels(members[LABELS]) if LABELS in members else None
    if labels is not None:
        check_space(labels, manifest)
    remembered = from_bytes(members[REMEMBERED], manifest) if REMEMBERED in members else None
    return Bundle(path, flatbuffer, manifest, labels, _read_report(members, path), remembered)


def write_bundle(path: str | os.PathLike[str], flatbuffer: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> Manifest:
    """The file at `path` is a bundle of these parts, whole or not at all; returns its manifest, digests filled in.

    `members` may hold labels.npz, report.json and remembered.npz. The same parts give the same bytes on every machine. Raises
    BundleIncompatible for parts that no bundle can hold, OSError when the file cannot be written.
    """
    path = Path(path)
    data, manifest = pack(flatbuffer, manifest, members)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # in the same folder: os.replace must not cross file systems
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # boards lose their power: the name must not point at blocks that were never written
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return manifest


def pack(flatbuffer: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> tuple[bytes, Manifest]:
    """The bytes of the bundle and its manifest with `flatbuffer_sha256` and `members` filled in. Raises as `write_bundle`."""
    if flatbuffer[4:8] != b"TFL3":
        raise BundleIncompatible(
            f"expected a TensorFlow Lite file (TFL3), found {flatbuffer[4:8]!r}; pass the converter's output"
        )
    unknown = sorted(set(members) - _EXTRA_MEMBERS)
    if unknown:
        raise BundleIncompatible(f"a bundle holds {', '.join(sorted(_EXTRA_MEMBERS))}, not {', '.join(unknown)}; leave them out")
    digests = {name: sha256_hex(content) for name, content in sorted(members.items())}
    manifest = replace(manifest, flatbuffer_sha256=sha256_hex(flatbuffer), members=digests)
    check_structure(manifest)
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # "w" starts at the present position, offsets count from 0
        for name, content in ((MANIFEST, to_json(manifest).encode()), *sorted(members.items())):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # else the bytes would depend on the machine's system
            archive.writestr(info, content)
        archive.comment = b"0" * _DIGEST_BYTES
    with buffer.getbuffer() as view:
        view[-_DIGEST_BYTES:] = sha256_hex(view[:-_DIGEST_BYTES]).encode()
    return buffer.getvalue(), manifest


def _check_whole(data: bytes, path: Path) -> None:
    """Returns when the file is a flatbuffer that ends in a zip whose comment is the digest of all bytes before it."""
    if data[4:8] != b"TFL3":
        raise BundleCorrupt(f"{path}: expected a TensorFlow Lite file (TFL3), found {data[4:8]!r} of {len(data)} bytes; {_AGAIN}")
    if _MEMBER_MAGIC not in data and _END_MAGIC not in data:
        raise BundleIncompatible(
            f"{path}: a TensorFlow Lite file without a manifest behind it (a plain model, or a bundle cut short); "
            "build a bundle with: convert build"
        )
    end = data[-(_END_RECORD.size + _DIGEST_BYTES) :]
    magic, *_, size, offset, comment = _END_RECORD.unpack(end[: _END_RECORD.size].ljust(_END_RECORD.size))
    if magic != _END_MAGIC or comment != _DIGEST_BYTES:
        raise BundleCorrupt(f"{path}: expected the bundle's end record, found other bytes: truncated or altered; {_AGAIN}")
    if sha256_hex(memoryview(data)[:-_DIGEST_BYTES]).encode() != data[-_DIGEST_BYTES:]:
        raise BundleCorrupt(f"{path}: the bytes do not match the digest at the end: altered or damaged; {_AGAIN}")
    if offset + size != len(data) - len(end):
        raise BundleIncompatible(f"{path}: the zip's offsets do not count from the start of the file; {_AGAIN}")


def _split(data: bytes, path: Path) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer, which is everything before the first member, and the members by name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            unknown = sorted(set(names) - _EXTRA_MEMBERS - {MANIFEST})
            packed = sorted(entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
            if unknown or packed or len(set(names)) != len(names):
                raise BundleIncompatible(
                    f"{path}: expected {MANIFEST}, {LABELS}, {REPORT}, {REMEMBERED}, each once and uncompressed, found {', '.join(names)}"
                    f"{' (compressed)' if packed else ''}; {_AGAIN}"
                )
            members = {name: archive.read(name) for name in names}
            start = min((entry.header_offset for entry in entries), default=len(data))
    except _ZIP_ERRORS as error:
        raise BundleCorrupt(f"{path}: the zip behind the model cannot be read ({error}); {_AGAIN}") from error
    return data[:start], members


def _read_manifest(members: dict[str, bytes], path: Path) -> Manifest:
    if MANIFEST not in members:
        raise BundleCorrupt(f"{path}: expected a {MANIFEST}, found {', '.join(members) or 'nothing'}; {_AGAIN}")
    try:
        return from_json(members[MANIFEST].decode())
    except UnicodeDecodeError as error:
        raise BundleCorrupt(f"{path}: {MANIFEST} is no text ({error}); {_AGAIN}") from error


def _check_members(flatbuffer: bytes, members: dict[str, bytes], manifest: Manifest, path: Path) -> None:
    found = {name: sha256_hex(content) for name, content in members.items() if name != MANIFEST}
    if set(found) != set(manifest.members):
        raise BundleCorrupt(f"{path}: the manifest lists {sorted(manifest.members)}, the zip holds {sorted(found)}; {_AGAIN}")
    wrong = sorted(name for name, digest in found.items() if digest != manifest.members[name])
    if sha256_hex(flatbuffer) != manifest.flatbuffer_sha256:
        wrong.append("the flatbuffer")
    if wrong:
        raise BundleCorrupt(f"{path}: {', '.join(wrong)} does not match the manifest's digest; {_AGAIN}")


def _read_report(members: dict[str, bytes], path: Path) -> dict[str, Any]:
    try:
        report = json.loads(members.get(REPORT, b"{}"))
    except ValueError as error:
        raise BundleCorrupt(f"{path}: {REPORT} is not JSON ({error}); {_AGAIN}") from error
    if not isinstance(report, dict):
        raise BundleCorrupt(f"{path}: {REPORT} should be an object, found {type(report).__name__}; {_AGAIN}")
    return report
