"""The bundle: a TensorFlow Lite file with an uncompressed zip behind it, checked to the last byte before it is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tflite_runtime_app.bundle.calibration_outputs import Remembered, from_bytes
from tflite_runtime_app.bundle.container import Parts, appended, detached
from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.fields import parsed_json
from tflite_runtime_app.bundle.labels import LabelBank, check_space, read_labels
from tflite_runtime_app.bundle.manifest import Manifest, from_json, to_json
from tflite_runtime_app.bundle.structure import check_structure
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible
from tflite_runtime_app.files import open_regular, write_atomically

MANIFEST, LABELS, BACKGROUND, REPORT, REMEMBERED = (
    "manifest.json",
    "labels.npz",
    "background.npz",
    "report.json",
    "remembered.npz",
)
_EXTRA_MEMBERS = frozenset({LABELS, BACKGROUND, REPORT, REMEMBERED})
_AGAIN = "copy it again, or build it again with: convert build"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose every byte was checked. `labels` is None when it was built without any, `report` then may be {}.

    `background` are names of other things, beside which an image may turn out to be none of the labels; None without any. `remembered` are
    the outputs of calibration images, None in a bundle that was calibrated on none. `notice` is a sentence for the user
    on how this file came to be opened, empty where there is nothing to say.
    """

    path: Path
    flatbuffer: bytes
    manifest: Manifest
    labels: LabelBank | None
    report: dict[str, Any]
    remembered: Remembered | None = None
    background: LabelBank | None = None
    notice: str = ""


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """The bundle at `path`: digests match, every member is known, the manifest is coherent, labels are of its space.

    The file is read once and hashed once. Raises BundleCorrupt when its bytes are not those that were written, BundleIncompatible when it
    is no bundle of this program's, LabelError when its label matrix is refused.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            parts = detached(file, path, (MANIFEST, *sorted(_EXTRA_MEMBERS)), _AGAIN)
    except FileNotFoundError:
        raise BundleCorrupt(f"{path}: no such file; build a bundle with: convert build") from None
    except OSError as error:
        raise BundleCorrupt(f"{path}: expected a readable file, found: {error.strerror}; check the path") from error
    members = parts.members
    manifest = _read_manifest(members, path)
    _check_members(parts, manifest, path)
    check_structure(manifest)
    labels, background = (_read_bank(members, name, manifest) for name in (LABELS, BACKGROUND))
    remembered = from_bytes(members[REMEMBERED], manifest) if REMEMBERED in members else None
    return Bundle(path, parts.flatbuffer, manifest, labels, _read_report(members, path), remembered, background)


def write_bundle(path: str | os.PathLike[str], flatbuffer: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> Manifest:
    """The file at `path` is a bundle of these parts, whole or not at all; returns its manifest, digests filled in.

    `members` may hold labels.npz, background.npz, report.json and remembered.npz. The same parts give the same bytes on every machine.
    Raises BundleIncompatible for parts that no bundle can hold, OSError when the file cannot be written."""
    data, manifest = pack(flatbuffer, manifest, members)
    write_atomically(path, data)
    return manifest


def pack(flatbuffer: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> tuple[bytes, Manifest]:
    """The bytes of the bundle and its manifest with `flatbuffer_sha256` and `members` filled in. Raises as `write_bundle`."""
    unknown = sorted(set(members) - _EXTRA_MEMBERS)
    if unknown:
        raise BundleIncompatible(f"a bundle holds {', '.join(sorted(_EXTRA_MEMBERS))}, not {', '.join(unknown)}; leave them out")
    digests = {name: sha256_hex(content) for name, content in sorted(members.items())}
    manifest = replace(manifest, flatbuffer_sha256=sha256_hex(flatbuffer), members=digests)
    check_structure(manifest)
    described = to_json(manifest).encode()
    from_json(described)  # a number out of its range is found here, not on the board
    return appended(flatbuffer, {MANIFEST: described, **dict(sorted(members.items()))}), manifest


def _read_manifest(members: dict[str, bytes], path: Path) -> Manifest:
    if MANIFEST not in members:
        raise BundleCorrupt(f"{path}: expected a {MANIFEST}, found {', '.join(members) or 'nothing'}; {_AGAIN}")
    return from_json(members[MANIFEST])


def _read_bank(members: dict[str, bytes], name: str, manifest: Manifest) -> LabelBank | None:
    if name not in members:
        return None
    bank = read_labels(members[name], f"the bundle's {name}")
    check_space(bank, manifest)
    return bank


def _check_members(parts: Parts, manifest: Manifest, path: Path) -> None:
    found = {name: sha256_hex(content) for name, content in parts.members.items() if name != MANIFEST}
    if set(found) != set(manifest.members):
        raise BundleCorrupt(f"{path}: the manifest lists {sorted(manifest.members)}, the zip holds {sorted(found)}; {_AGAIN}")
    wrong = sorted(name for name, digest in found.items() if digest != manifest.members[name])
    if parts.flatbuffer_sha256 != manifest.flatbuffer_sha256:
        wrong.append("the flatbuffer")
    if wrong:
        raise BundleCorrupt(f"{path}: {', '.join(wrong)} does not match the manifest's digest; {_AGAIN}")


def _read_report(members: dict[str, bytes], path: Path) -> dict[str, Any]:
    report = parsed_json(members.get(REPORT, b"{}"), f"{path}: {REPORT}", _AGAIN)
    if not isinstance(report, dict):
        raise BundleCorrupt(f"{path}: {REPORT} should be an object, found {type(report).__name__}; {_AGAIN}")
    return report
