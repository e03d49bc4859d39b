"""The door for files from outside: what is asked of a bundle or a label matrix before the program works with it.

A bundle is read to the last byte, its signature is checked where a key is given, and its model is tried in a child process. When a file is
refused and the last good one lies beside it (`tflite_runtime_app/commands/install_model.py`), that one is taken, and its notice says so.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tflite_runtime_app.admission.one_line import refused_in_one_line
from tflite_runtime_app.admission.replacing import previous_path
from tflite_runtime_app.admission.signing import PublicKey, signature_path, verify, verify_bundle
from tflite_runtime_app.admission.trial_run import admit
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.bundle.labels import LabelBank, read_labels
from tflite_runtime_app.errors import BundleCorrupt, BundleError, LabelError
from tflite_runtime_app.policies import check_policy

_AGAIN_AT_MOST = 20  # times that files which changed meanwhile are read anew
_AGAIN = "build it again with: convert build"


def open_bundle(path: str | os.PathLike[str], key: PublicKey | None = None) -> Bundle:
    """The bundle at `path`, or its last good one; then its `notice` says so.

    With a `key`, only a file with that key's signature is taken. Raises BundleError or LabelError for what is wrong with the file at
    `path` when there is no last good one, or when that one is refused too.
    """
    path = Path(path)
    for _ in range(_AGAIN_AT_MOST):
        before = _stamps(path)
        try:
            bundle = _sound_bundle(path, key)
        except (BundleError, LabelError):
            # A file and its signature are two files: whoever reads them while a model is installed may have got one of each.
            if _stamps(path) == before:
                raise
            continue
        if not bundle.notice or _stamps(path) == before:
            return bundle
    return _sound_bundle(path, key)


def _sound_bundle(path: Path, key: PublicKey | None) -> Bundle:
    try:
        return accepted_bundle(path, key)
    except (BundleError, LabelError) as refusal:
        kept = previous_path(path)
        if not os.path.exists(kept):
            raise
        try:
            bundle = accepted_bundle(kept, key)
        except (BundleError, LabelError):
            raise refusal from None
        notice = f"{path} WAS REFUSED ({refusal}); running the last good one, {kept}, until a valid one is installed"
        return replace(bundle, notice=f"{notice}: classify install-model NEW --as {path}")


def _stamps(path: Path) -> list[tuple[int, int, int]]:
    """What changes when one of the files that belong to `path` is replaced."""
    found = []
    for file in (path, previous_path(path)):
        for one in (file, signature_path(file)):
            try:
                stat = os.stat(one)
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append((0, 0, 0))
    return found


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
    with refused_in_one_line(BundleCorrupt, os.fspath(path), f"copy it again, or {_AGAIN}"):
        bundle = read_bundle(path)
        check_policy(bundle.manifest, None if bundle.labels is None else len(bundle.labels.names))
        return bundle


def checked_labels(source: bytes | str | os.PathLike[str]) -> LabelBank:
    """`read_labels`, whose every failure is a LabelError of one line."""
    where = "the label matrix" if isinstance(source, bytes) else os.fspath(source)
    with refused_in_one_line(LabelError, where, "make it again with: convert labels"):
        return read_labels(source)
