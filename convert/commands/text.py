"""`convert text`: the text tower of the model that a bundle was built from, beside the bundle."""

from __future__ import annotations

from pathlib import Path

from convert.commands.matching import matching_model
from convert.options import ModelOptions
from convert.support.console import say
from convert.support.errors import UsageError
from convert.support.files import check_target, write_atomically
from convert.support.progress import OnTerminal
from convert.text.make import build_text
from tflite_runtime_app.admission.open import checked_bundle
from tflite_runtime_app.text.beside import text_path


def text(file: Path, out: Path | None, weights: str | None, model: ModelOptions, force: bool) -> None:
    """`out`, by default NAME.text.tflite beside the bundle, turns names into label vectors on the board; its path is the last line."""
    path = text_path(file) if out is None else out
    check_target(path)
    if path.exists() and not force:
        raise UsageError(f"{path} exists; write over it with --force, or name another file with --out")
    manifest = checked_bundle(file).manifest
    built = build_text(matching_model(manifest, file, model), weights, OnTerminal())
    write_atomically(path, built.content)
    say(built.checks[-1].words(), path.resolve())
