"""`convert labels`: a label matrix for a bundle, made with the text tower of the model that the bundle was built from."""

from __future__ import annotations

import sys
from pathlib import Path

from convert.commands.matching import matching_model
from convert.emit.manifest import cascade_of
from convert.model.labels import embed_labels, read_label_list
from convert.options import ModelOptions
from convert.support.console import say
from convert.support.errors import UsageError
from convert.support.files import check_target, write_atomically
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.exits.refit import for_other_labels


def labels(file: Path, given: str, out: Path, model: ModelOptions, force: bool) -> None:
    """`out` holds one unit vector per label, in the bundle's space; what becomes of the exits with these labels is said."""
    bundle = accepted_bundle(file)
    manifest = bundle.manifest
    check_target(out)
    if out.exists() and not force:
        raise UsageError(f"{out} exists; write over it with --force, or name another file with --out")
    loaded = matching_model(manifest, file, model)
    bank = embed_labels(read_label_list(given, loaded), loaded)
    write_atomically(out, labels_to_bytes(bank))
    _, told = for_other_labels(cascade_of(bundle.flatbuffer, manifest), manifest, bundle.remembered, bank)
    if told:
        print(f"convert: {escaped(told)}", file=sys.stderr)
    say(f"{len(bank.names)} labels, {len(bank.templates)} templates", out.resolve())
