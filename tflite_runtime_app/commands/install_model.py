"""The command `classify install-model`: a new model in place of the one in service, whole or not at all, the old one kept.

The order is what makes it safe against a power cut: the old file and its signature are kept under FILE.previous first, then the new
signature comes, then the new file. Between any two steps FILE or FILE.previous is a valid pair, and `open_bundle` finds it.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tflite_runtime_app.admission.open import accepted_bundle, checked_bundle, previous_path
from tflite_runtime_app.admission.signing import PublicKey, read_public_key, signature_path
from tflite_runtime_app.errors import AppError, BundleError, LabelError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.files import check_target, open_regular

HELP = "put a new model in the place of the one in service, after it was checked and tried; the old one is kept as FILE.previous"


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
        with _copy(new, file) as staged, _copy(signature_path(new), signature_path(file)) as signature:
            if checked_bundle(staged).manifest != bundle.manifest:  # what is on the disk is what was checked
                raise AppError(f"{new} was replaced while it was copied; install it again")
            if _valid(file, key):
                _keep(file)
            _replace(signature, signature_path(file))
            _replace(staged, file)
            _flush_folder(file.parent)
    except OSError as error:
        raise AppError(f"cannot install {new} as {file} ({error.strerror}); the model in service is as it was") from error
    print(escaped(file.absolute()))
    return 0


@contextmanager
def _copy(source: Path, target: Path) -> Iterator[Path]:
    """A file in the target's folder with the source's bytes, all of them on the disk; none where there is no source. Gone afterwards."""
    staged = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with suppress(FileNotFoundError), open_regular(source) as reading, open(staged, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        yield staged
    finally:
        staged.unlink(missing_ok=True)


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
        spare = target.with_name(f".{target.name}.{os.getpid()}.new")
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
