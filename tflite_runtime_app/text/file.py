"""The text tower's own file beside the bundle, `NAME.text.tflite`: what it says of itself, and how it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tflite_runtime_app.bundle.container import DIGEST_BYTES, appended, detached
from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.fields import parsed_json, read_fields
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.bundle.ranges import TEXT_TOWER
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible, LabelError
from tflite_runtime_app.files import open_regular

MEMBER = "text.json"
SCHEMA_VERSION = 1
TOKENIZER, POOLING = "clip-bpe", "end-of-text"
REMEDY = "make it with: convert text BUNDLE"


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
    """A text tower's file whose every byte was checked; `digest` is the one it ends in."""

    path: Path
    flatbuffer: bytes
    manifest: TextManifest
    digest: str = ""


def pack_text(flatbuffer: bytes, manifest: TextManifest) -> bytes:
    """The file's bytes, the flatbuffer's digest filled in."""
    described = dataclasses.replace(manifest, flatbuffer_sha256=sha256_hex(flatbuffer))
    return appended(flatbuffer, {MEMBER: json.dumps(dataclasses.asdict(described), indent=1, sort_keys=True).encode()})


def read_text(path: Path, content: bytes | None = None) -> TextFile:
    """The text tower at `path`, `content` its bytes where they were read already.

    Raises BundleCorrupt or BundleIncompatible before any interpreter has seen a byte.
    """
    try:
        with open_regular(path) if content is None else io.BytesIO(content) as file:
            parts = detached(file, path, (MEMBER,), REMEDY)
            file.seek(-DIGEST_BYTES, os.SEEK_END)
            digest = file.read().decode()
    except OSError as error:
        raise BundleCorrupt(f"{path}: expected a text tower, found: {error.strerror}; {REMEDY}") from error
    if MEMBER not in parts.members:
        raise BundleCorrupt(f"{path}: expected a {MEMBER} behind the model, found none; {REMEDY}")
    manifest = _manifest(parts.members[MEMBER], str(path))
    if parts.flatbuffer_sha256 != manifest.flatbuffer_sha256:
        raise BundleCorrupt(f"{path}: the model does not match the manifest's digest; {REMEDY}")
    return TextFile(path, parts.flatbuffer, manifest, digest)


def whole_digest(path: Path) -> str:
    """The digest that the file ends in, where its bytes are those that it was made of; "" else, or where there is no reading it.

    It takes a megabyte of memory, whatever the file's size.
    """
    try:
        with open_regular(path) as file:
            left = os.fstat(file.fileno()).st_size - DIGEST_BYTES
            found = hashlib.sha256()
            while left > 0 and (part := file.read(min(left, 1 << 20))):
                found.update(part)
                left -= len(part)
            stated = file.read(DIGEST_BYTES + 1)
    except OSError:
        return ""
    return found.hexdigest() if stated == found.hexdigest().encode() else ""


def check_belongs(text: TextFile, manifest: Manifest) -> None:
    """Returns when the text tower and the bundle of `manifest` are of one model; raises LabelError with the remedy."""
    found = text.manifest
    if (found.space_id, found.embedding_size) != (manifest.space_id, manifest.embedding_size):
        raise LabelError(
            f"{text.path} is the text tower of {found.name} (space {found.space_id:.12}), this bundle ({manifest.name}) is space "
            f"{manifest.space_id:.12}; {REMEDY}"
        )


def _manifest(content: bytes, where: str) -> TextManifest:
    """The manifest, every field of its type and in its range. Raises BundleIncompatible naming what is not as expected."""
    value = parsed_json(content, f"{where}: {MEMBER}", REMEDY)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA_VERSION:
        raise BundleIncompatible(f"{where}: {MEMBER} is of another version than {SCHEMA_VERSION}; {REMEDY}")
    try:
        manifest = read_fields(TextManifest, value, "text", TEXT_TOWER)
    except BundleIncompatible as error:
        raise BundleIncompatible(f"{where}: {error}") from None
    rising = list(manifest.lengths) == sorted(set(manifest.lengths)) and manifest.lengths[-1] == manifest.context
    for fits, what in (
        (rising, f"lengths should rise to the context of {manifest.context}, found {manifest.lengths}"),
        (all("{}" in template for template in manifest.templates), "templates should each hold {}"),
        (manifest.tokenizer == TOKENIZER, f"the tokenizer should be {TOKENIZER}, found {manifest.tokenizer}"),
        (manifest.pooling == POOLING, f"the pooling should be {POOLING}, found {manifest.pooling}"),
    ):
        if not fits:
            raise BundleIncompatible(f"{where}: {MEMBER}: {what}; {REMEDY}")
    return manifest
