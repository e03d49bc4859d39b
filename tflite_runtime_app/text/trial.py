"""A text tower's door: its flatbuffer is walked, and each signature run in a child process (`admission/child.py`), before it is used."""

from __future__ import annotations

import sys
from pathlib import Path

from tflite_runtime_app.admission.child import Allowed, Trial, admit_once, check_digest, child_main
from tflite_runtime_app.admission.flatbuffer_check import check
from tflite_runtime_app.admission.one_line import refused_in_one_line
from tflite_runtime_app.admission.text_rules import text_rules
from tflite_runtime_app.errors import BUILD_AGAIN, BundleCorrupt, BundleError
from tflite_runtime_app.text.file import REMEDY, TextFile, read_text
from tflite_runtime_app.text.tower import TextTower

MODULE = "tflite_runtime_app.text.trial"


def admit_text(file: TextFile, allowed: Allowed | None = None) -> None:
    """Returns when LiteRT has run every signature of `file` in a child process, now or on an earlier day.

    Raises BundleCorrupt or BundleIncompatible when the tower was refused, crashed, hung or ran out of memory; AppError when no child can be
    started.
    """
    trial = Trial(MODULE, file.path, file.manifest.flatbuffer_sha256, len(file.flatbuffer), REMEDY)
    admit_once(trial, lambda: check_text(file), allowed or Allowed())


def checked_text(path: Path, content: bytes | None = None) -> TextFile:
    """`read_text`, whose every failure is a BundleError of one line."""
    with refused_in_one_line(BundleCorrupt, str(path), REMEDY):
        return read_text(path, content)


def check_text(file: TextFile) -> None:
    """Returns when LiteRT can be given the file's flatbuffer. Raises BundleCorrupt or BundleIncompatible."""
    try:
        check(file.flatbuffer, text_rules(file.manifest.vocabulary))
    except BundleError as error:
        raise type(error)(f"{file.path}: {str(error).removesuffix(BUILD_AGAIN)}{REMEDY}") from error


def try_tower(file: TextFile) -> None:
    """Every signature ran: on an empty sentence, and on one that fills it to its length."""
    TextTower(file).try_lengths()


def _attempt(path: Path, flatbuffer: str | None) -> None:
    file = read_text(path)
    check_digest(path, flatbuffer, file.manifest.flatbuffer_sha256)
    try_tower(file)


if __name__ == "__main__":
    sys.exit(child_main(MODULE, _attempt))
