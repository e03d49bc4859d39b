"""The text tower's own file beside the bundle, `NAME.text.tflite`: what it says of itself, and how it is read."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflite_runtime_app.bundle.container import DIGEST_BYTES, appended, detached
from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible, LabelError

MEMBER = "text.json"
SCHEMA_VERSION = 1
TOKENIZER, POOLING = "clip-bpe", "end-of-text"
_AGAIN = "make it with: convert text BUNDLE"


@dataclass(frozen=True, slots=True)
class TextManifest:
    """What the board must know of a text tower.

    `lengths` are the sentences' lengths in tokens that the file has a signature for, shortest first, `context` the longest; `pooling` says
    where the embedding is read, `templates` what a label is put into, `weights` how the weights are stored. `check` are the figures of the
    conversion: sentences, and their least and mean cosine with the float tower.
    """

    name: str
    weights_sha256: str
    space_id: str
    context: int
    lengths: tuple[int, ...]
    vocabulary: int
    embedding_size: int
    templates: tuple[str, ...]
    weights: str
    flatbuffer_sha256: str = ""
    tokenizer: str = TOKENIZER
    pooling: str = POOLING
    check: dict[str, float] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, eq=False)
class TextFile:
    """A text tower's file whose every byte was checked."""

    path: Path
    flatbuffer: bytes
    manifest: TextManifest


def text_path(bundle: Path) -> Path:
    """Where a bundle's text tower lies: beside it, `pocket-rpi.tflite` -> `pocket-rpi.text.tflite`."""
    return bundle.with_name(f"{bundle.stem}.text.tflite")


def pack_text(flatbuffer: bytes, manifest: TextManifest) -> bytes:
    """The file's bytes, the flatbuffer's digest filled in."""
    described = dataclasses.replace(manifest, flatbuffer_sha256=sha256_hex(flatbuffer))
    return appended(flatbuffer, {MEMBER: json.dumps(dataclasses.asdict(described), indent=1, sort_keys=True).encode()})


def read_text(path: Path, content: bytes | None = None) -> TextFile:
    """The text tower at `path`, `content` its bytes where they were read already.

    Raises BundleCorrupt or BundleIncompatible before any interpreter has seen a byte.
    """
    try:
        data = path.read_bytes() if content is None else content
    except OSError as error:
        raise BundleCorrupt(f"{path}: expected a text tower, found: {error.strerror}; {_AGAIN}") from error
    flatbuffer, members = detached(data, path, (MEMBER,), _AGAIN)
    if MEMBER not in members:
        raise BundleCorrupt(f"{path}: expected a {MEMBER} behind the model, found none; {_AGAIN}")
    manifest = _manifest(members[MEMBER], str(path))
    if sha256_hex(flatbuffer) != manifest.flatbuffer_sha256:
        raise BundleCorrupt(f"{path}: the model does not match the manifest's digest; {_AGAIN}")
    return TextFile(path, flatbuffer, manifest)


def digest_at_end(path: Path) -> str:
    """The digest that the file ends in, unchecked: enough to tell which file it is. Empty when there is no reading it."""
    try:
        with open(path, "rb") as file:
            file.seek(-DIGEST_BYTES, os.SEEK_END)
            return file.read().decode("ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def check_belongs(text: TextFile, manifest: Manifest) -> None:
    """Returns when the text tower and the bundle of `manifest` are of one model; raises LabelError with the remedy."""
    found = text.manifest
    if (found.space_id, found.embedding_size) != (manifest.space_id, manifest.embedding_size):
        raise LabelError(
            f"{text.path} is the text tower of {found.name} (space {found.space_id:.12}), this bundle ({manifest.name}) is space "
            f"{manifest.space_id:.12}; {_AGAIN}"
        )


def _manifest(content: bytes, where: str) -> TextManifest:
    """The manifest, every field of its type. Raises BundleIncompatible naming what is not as expected."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise BundleIncompatible(f"{where}: {MEMBER} is not JSON ({error}); {_AGAIN}") from error
    wanted = {f.name: f for f in dataclasses.fields(TextManifest)}
    if not isinstance(value, dict) or value.get("schema") != SCHEMA_VERSION or set(value) != set(wanted):
        raise BundleIncompatible(f"{where}: {MEMBER} is of another version than {SCHEMA_VERSION}; {_AGAIN}")
    checks: dict[str, Any] = {"int": int, "str": str, "tuple[int, ...]": list, "tuple[str, ...]": list}
    wrong = [name for name, f in wanted.items() if not isinstance(value[name], checks.get(str(f.type), dict))]
    lengths, templates = value["lengths"], value["templates"]
    if not wrong and not all(isinstance(item, int) and item > 2 for item in lengths):
        wrong.append("lengths")
    if not wrong and not (lengths and lengths == sorted(lengths) and lengths[-1] == value["context"]):
        wrong.append("lengths")
    if not wrong and not (templates and all(isinstance(item, str) and "{}" in item for item in templates)):
        wrong.append("templates")
    if not wrong and (value["tokenizer"], value["pooling"]) != (TOKENIZER, POOLING):
        wrong.append(f"tokenizer or pooling ({value['tokenizer']}, {value['pooling']})")
    if wrong:
        raise BundleIncompatible(f"{where}: {MEMBER} does not do for this program: {', '.join(wrong)}; {_AGAIN}")
    return TextManifest(**{**value, "lengths": tuple(lengths), "templates": tuple(templates)})
