"""`convert sign`: a signature beside a file, so that boards can tell what you made from what somebody else did."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convert.support.console import say
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from tflite_runtime_app.admission.open import checked_bundle, checked_labels
from tflite_runtime_app.admission.signing import KINDS, message, need_cryptography, signature_path
from tflite_runtime_app.files import read_regular
from tflite_runtime_app.text.trial import check_text, checked_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE, PUBLIC = "private.pem", "public.pem"
_BY_NAME = {".text.tflite": "text-tower", ".tflite": "bundle", ".npz": "labels"}
_CHECKS: dict[str, Callable[[Path], object]] = {
    "bundle": checked_bundle,
    "labels": checked_labels,
    "text-tower": lambda path: check_text(checked_text(path)),
}


def sign(file: Path | None, key: Path | None, new_key: Path | None, kind: str | None) -> None:
    """FILE.sig lies beside the file, or a new pair of keys in the folder; the paths are printed."""
    if new_key is not None and file is None and key is None:
        say(*(path.resolve() for path in make_keys(new_key)))
    elif new_key is None and file is not None and key is not None:
        say(sign_file(file, key, kind).resolve())
    else:
        raise UsageError("expected FILE with --key KEY.pem, or --new-key DIR alone")


def make_keys(folder: Path) -> tuple[Path, Path]:
    """private.pem, which only its owner can read, and public.pem are in `folder`. Raises UsageError when one is there already."""
    need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private, public = folder / PRIVATE, folder / PUBLIC
    for path in (private, public):
        if path.exists():
            raise UsageError(f"{path} exists, and what was signed with its key would be lost; name another folder")
    key = ed25519.Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {private}: {error.strerror}") from error
    try:
        with open(number, "wb") as stream:
            stream.write(secret)
        write_atomically(public, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    except (OSError, UsageError) as error:
        private.unlink(missing_ok=True)  # half a pair would keep the next try from this folder
        raise UsageError(f"cannot write the keys in {folder}: {getattr(error, 'strerror', None) or error}") from error
    return private, public


def sign_file(file: Path, key: Path, kind: str | None) -> Path:
    """FILE.sig holds the signature of the file as one of its kind; the kind follows from the name unless it is given.

    Raises UsageError for a kind or a key that does not do, BundleError or LabelError for a file that no board would take.
    """
    kind = _kind_of(file) if kind is None else kind
    if kind not in KINDS:
        raise UsageError(f"--kind should be one of {', '.join(KINDS)}, found {kind!r}")
    private = _private_key(key)
    try:
        content = read_regular(file)
    except OSError as error:
        raise UsageError(f"{file}: expected a readable file, found: {error.strerror}; check the path") from error
    _CHECKS[kind](file)
    target = signature_path(file)
    write_atomically(target, base64.b64encode(private.sign(message(kind, content))) + b"\n")
    return target


def _kind_of(file: Path) -> str:
    for suffix, kind in _BY_NAME.items():
        if file.name.endswith(suffix):
            return kind
    raise UsageError(f"{file}: expected a name that ends in {', '.join(_BY_NAME)}; or say with --kind what it is")


def _private_key(path: Path) -> Ed25519PrivateKey:
    need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        key = serialization.load_pem_private_key(read_regular(path), password=None)
    except OSError as error:
        raise UsageError(
            f"{path}: expected a private key, found: {error.strerror}; make one with: convert sign --new-key DIR"
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: it wants a password
        raise UsageError(
            f"{path}: expected a private key in a PEM file without a password; make one with: convert sign --new-key DIR"
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key, found another kind; make one with: convert sign --new-key DIR")
    return key
