"""The command `classify install-model`: a new model in place of the one in service, whole or not at all, the old one kept.

The order is what makes it safe against a power cut: the old file and its signature are kept under FILE.previous first, then the new
signature comes, then the new file. Between any two steps FILE or FILE.previous is a valid pair, and `open_bundle` finds it. Of several at
once each waits for the one before, from the first byte to the last: the steps of two would make pairs that fit no more.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tflite_runtime_app.admission.open import accepted_bundle, checked_bundle
from tflite_runtime_app.admission.replacing import half_path, installing, previous_path
from tflite_runtime_app.admission.signing import PublicKey, read_public_key, signature_path, verify_bundle
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import AppError, BundleError, LabelError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.files import check_target, open_regular


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("new", metavar="NEW", help="the new bundle; its signature NEW.sig goes with it")
    parser.add_argument("--as", dest="file", metavar="FILE", required=True, help="the bundle that the service is started with")
    parser.add_argument("--require-signature", metavar="PUBLIC.pem", help="refuse NEW unless this key has signed it")


def run(arguments: argparse.Namespace) -> int:
    """The new model stands at --as, or everything is as it was and the reason was raised."""
    key = read_public_key(arguments.require_signature) if arguments.require_signature else None
    new, file = Path(arguments.new), Path(arguments.file)
    bundle = accepted_bundle(new, key)
    try:
        check_target(file)
        with installing(file, lambda: tell(f"another model is being installed beside {file}; waiting until that is done")):
            _install(new, file, bundle, key)
    except OSError as error:
        raise AppError(f"cannot install {new} as {file} ({error.strerror}); the model in service is as it was") from error
    print(escaped(file.absolute()))
    return 0


def _install(new: Path, file: Path, bundle: Bundle, key: PublicKey | None) -> None:
    """`file` has the bytes of `new`, which are those that `bundle` was read from; what was there is kept. Raises OSError, AppError."""
    half = half_path(file)
    with _copy(new, half) as staged, _copy(signature_path(new), signature_path(half)) as signature:
        if not _is_as_checked(staged, bundle, key):
            raise AppError(f"{new} was replaced while it was copied; install it again")
        if _valid(file, key):
            _keep(file)
        _replace(signature, signature_path(file))
        os.replace(staged, file)  # the one that must be there: else nothing would be
        _flush_folder(file.parent)


@contextmanager
def _copy(source: Path, staged: Path) -> Iterator[Path]:
    """`staged` has the source's bytes, all of them on the disk; it is none where there is no source. Gone afterwards."""
    try:
        with suppress(FileNotFoundError), open_regular(source) as reading, open(staged, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def _is_as_checked(staged: Path, bundle: Bundle, key: PublicKey | None) -> bool:
    """Whether what is on the disk now, signature and all, is what was checked before it was copied."""
    found = checked_bundle(staged)
    if key is not None:
        try:
            verify_bundle(found, key)
        except BundleError:
            return False
    return found.manifest == bundle.manifest


def _valid(file: Path, key: PublicKey | None) -> bool:
    """Whether the file in service is worth keeping: a refused one must not push the last good one out."""
    try:
        accepted_bundle(file, key)
    except (BundleError, LabelError):
        return False
    return True


def _keep(file: Path) -> None:
    """The file and its signature stand under FILE.previous too."""
    kept = previous_path(file)
    for source, target in ((signature_path(file), signature_path(kept)), (file, kept)):
        spare = half_path(target)
        try:
            with suppress(FileNotFoundError):
                _link(source, spare)
            _replace(spare, target)
        finally:
            spare.unlink(missing_ok=True)
    _flush_folder(file.parent)


def _link(source: Path, target: Path) -> None:
    """`target` has the source's bytes: the same ones where the file system knows links, else a copy."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # FAT, which SD cards come with
        shutil.copyfile(source, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())


def _replace(staged: Path, target: Path) -> None:
    """`target` is what `staged` was; where there is no such file, there is no target either."""
    try:
        os.replace(staged, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """The folder's names are on the disk; a file system that cannot say so does without."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
