"""The door for files from outside: what is asked of a bundle or a label matrix before the program works with it.

A bundle is read to the last byte, its signature is checked where a key is given, and its model is tried in a child process. When a file is
refused and the last good one lies beside it (`tflite_runtime_app/commands/install_model.py`), that one is taken, and its notice says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tflite_runtime_app.admission.signing import PublicKey, verify, verify_bundle
from tflite_runtime_app.admission.trial_run import admit
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.bundle.labels import LabelBank, read_labels
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import AppError, BundleCorrupt, BundleError, BundleIncompatible, LabelError

_AGAIN = "build it again with: convert build"


def open_bundle(path: str | os.PathLike[str], key: PublicKey | None = None) -> Bundle:
    """The bundle at `path`, or its last good one; then its `notice` says so.

    With a `key`, only a file with that key's signature is taken. Raises BundleError or LabelError for what is wrong with the file at
    `path` when there is no last good one, or when that one is refused too.
    """
    path = Path(path)
    try:
        return accepted_bundle(path, key)
    except (BundleError, LabelError) as refusal:
        kept = previous_path(path)
        if not kept.exists():
            raise
        try:
            bundle = accepted_bundle(kept, key)
        except (BundleError, LabelError):
            raise refusal from None
        notice = f"{path} WAS REFUSED ({refusal}); running the last good one, {kept}, until a valid one is installed"
        return replace(bundle, notice=f"{notice}: classify install-model NEW --as {path}")


def accepted_bundle(path: Path, key: PublicKey | None = None) -> Bundle:
    """The bundle at `path`: read, signed where a `key` is given, admitted. Raises BundleError or LabelError."""
    bundle = checked_bundle(path)
    if key is not None:
        verify_bundle(bundle, key)
    admit(bundle)
    return bundle


def accepted_labels(path: str | os.PathLike[str], key: PublicKey | None = None) -> LabelBank:
    """The label matrix at `path`, signed where a `key` is given. Raises LabelError."""
    if key is None:
        return checked_labels(path)
    return checked_labels(verify(path, "labels", key))


def checked_bundle(path: str | os.PathLike[str]) -> Bundle:
    """`read_bundle`, whose every failure is an AppError of one line."""
    with _in_one_line(BundleCorrupt, os.fspath(path), f"copy it again, or {_AGAIN}"):
        bundle = read_bundle(path)
        if not all(name.isprintable() for name in _names(bundle.manifest)):
            raise BundleIncompatible(f"{os.fspath(path)}: a name in the manifest holds what cannot be printed; {_AGAIN}")
        return bundle


def checked_labels(source: bytes | str | os.PathLike[str]) -> LabelBank:
    """`read_labels`, whose every failure is a LabelError of one line."""
    where = "the label matrix" if isinstance(source, bytes) else os.fspath(source)
    with _in_one_line(LabelError, where, "make it again with: convert labels"):
        return read_labels(source)


def previous_path(path: Path) -> Path:
    """Where the last good file is kept when `path` is replaced."""
    return path.with_name(f"{path.name}.previous")


def _names(manifest: Manifest) -> Iterator[str]:
    """Every name that may come to stand in a message."""
    yield manifest.name
    for stage in manifest.stages:
        yield stage.signature
        yield from (tensor.name for tensor in (*stage.inputs, *stage.outputs))
    for gate in manifest.gates:
        yield from (gate.signature, gate.features.name, gate.score.name)


@contextmanager
def _in_one_line(kind: type[AppError], where: str, remedy: str) -> Iterator[None]:
    """On the bytes of a stranger zip, JSON and npz readers raise nearly anything: RecursionError, zlib.error, SystemError, …"""
    try:
        try:
            yield
        except AppError as error:
            raise type(error)(_one_line(str(error))) from error
    except AppError:
        raise
    except Exception as error:
        reason = _one_line(str(error))[:200] or type(error).__name__
        raise kind(f"{where}: cannot be read ({reason}); {remedy}") from error


def _one_line(text: str) -> str:
    """Names in a file may hold line feeds and a terminal's commands."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
