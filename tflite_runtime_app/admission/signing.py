"""Detached signatures: FILE.sig says that whoever holds a private key has made FILE, and as what kind of file.

Ed25519 over "clip-rescue KIND v1", a line feed and the file's SHA-256 in hex: a signed label matrix is no signed bundle.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import zipfile
from pathlib import Path
from typing import Protocol

from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.file import MANIFEST, Bundle
from tflite_runtime_app.bundle.manifest import from_json
from tflite_runtime_app.errors import AppError, BundleCorrupt, BundleIncompatible, LabelError, UsageError
from tflite_runtime_app.files import open_regular, read_regular

# What can be signed, and what its refusal is called.
KINDS: dict[str, type[AppError]] = {"bundle": BundleCorrupt, "labels": LabelError, "text-tower": BundleCorrupt}
SUFFIX = ".sig"
_SIGNATURE_BYTES = 64
_MOST_KEY_BYTES = 65536


class PublicKey(Protocol):
    """What checks signatures; `read_public_key` gives one."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Returns when the signature is this key's for `data`; raises cryptography's InvalidSignature else."""


def message(kind: str, content: bytes) -> bytes:
    """What is signed for a file of that kind with these bytes."""
    return f"clip-rescue {kind} v1\n{sha256_hex(content)}".encode()


def signature_path(path: str | os.PathLike[str]) -> Path:
    """Where the signature of the file at `path` lies."""
    return Path(f"{os.fspath(path)}{SUFFIX}")


def need_cryptography() -> None:
    """Returns when the library that knows keys is there; raises UsageError with the remedy else."""
    try:
        import cryptography.hazmat.primitives.serialization  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"signatures need the library cryptography, which does not load here ({error}); install it with: pip install cryptography"
        ) from error


def read_public_key(path: str | os.PathLike[str]) -> PublicKey:
    """The key in a PEM file. Raises UsageError when there is none, or when the library that knows keys is missing."""
    need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        with open_regular(path) as file:
            key = load_pem_public_key(file.read(_MOST_KEY_BYTES))
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: expected a public key, found: {error.strerror}; check the path") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(
            f"{os.fspath(path)}: expected a public Ed25519 key in a PEM file; make a pair with: convert sign --new-key DIR"
        )
    return key


def verify(path: str | os.PathLike[str], kind: str, key: PublicKey) -> bytes:
    """The bytes of the file at `path`, which the signature beside it covers as a file of that kind.

    Raises the kind's error (of KINDS) when the file or its signature is missing, or the signature is not this key's for these bytes.
    """
    from cryptography.exceptions import InvalidSignature

    refusal, beside = KINDS[kind], signature_path(path)
    try:
        content = read_regular(path)
    except OSError as error:
        raise refusal(f"{os.fspath(path)}: expected a readable file, found: {error.strerror}; check the path") from error
    try:
        with open_regular(beside) as file:
            signature = base64.b64decode(file.read(1024).strip(), validate=True)
    except FileNotFoundError:
        raise refusal(f"{os.fspath(path)}: expected its signature {beside}, found none; sign it with: convert sign") from None
    except OSError as error:
        raise refusal(f"{beside}: expected a readable signature, found: {error.strerror}; check the file") from error
    except binascii.Error:
        signature = b""
    if len(signature) != _SIGNATURE_BYTES:
        raise refusal(
            f"{beside}: expected {_SIGNATURE_BYTES} bytes in base64, found something else; sign again with: convert sign"
        )
    try:
        key.verify(signature, message(kind, content))
    except InvalidSignature:
        raise refusal(
            f"{os.fspath(path)}: {beside} is no signature of this file as {kind} by the key given; "
            "get the file again from whoever signed it"
        ) from None
    return content


def verify_bundle(bundle: Bundle, key: PublicKey) -> None:
    """Returns when `bundle`, as it was read, is the signed file: its manifest binds every byte that is used. Raises as `verify`."""
    content = verify(bundle.path, "bundle", key)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # safe to open: its bytes are those of whoever signed it
        signed = from_json(archive.read(MANIFEST).decode())
    if signed != bundle.manifest:
        raise BundleIncompatible(f"{bundle.path} was replaced while it was read; start again")
