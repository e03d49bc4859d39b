"""What the text tower has said before, on disk: a restart costs no second embedding.

A file per text tower and templates, in the form of a label matrix. It is a cache: whatever is wrong with it, the vectors are made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes, read_labels
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.files import recalled, remember
from tflite_runtime_app.text.tower import Vectors

FORM = "1"  # another one when tokenizer or averaging change what a name's vector is
MOST_NAMES = 10_000  # in one file; the oldest go first
MOST_FILES = 4


class LabelCache:
    """The vectors of names under one text tower, known by its file's digest, and one list of templates. Vectors are float16 on disk."""

    def __init__(self, folder: Path, digest: str, templates: Sequence[str], space_id: str) -> None:
        self._path = folder / f"{sha256_hex(chr(10).join((FORM, digest, *templates)).encode())[:32]}.npz"
        self._templates, self._space_id = tuple(templates), space_id
        self._vectors: dict[str, Vectors] = self._read()

    def get(self, names: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of those names that are known."""
        return {name: self._vectors[name] for name in names if name in self._vectors}

    def add(self, names: Sequence[str], vectors: Vectors) -> None:
        """The names are known, and on disk too if that can be written; vectors are from here on what a restart finds there."""
        known = self._vectors | self._read()  # another process may have written meanwhile
        for name, vector in zip(names, vectors, strict=True):
            known.pop(name, None)
            known[name] = vector  # at the end, where the newest are
        kept = tuple(known)[-MOST_NAMES:]
        content = labels_to_bytes(LabelBank(np.stack([known[name] for name in kept]), kept, self._templates, self._space_id))
        self._vectors = known | dict(zip(kept, read_labels(content).vectors, strict=True))
        remember(self._path, content, MOST_FILES)

    def _read(self) -> dict[str, Vectors]:
        content = recalled(self._path)
        if content is None:
            return {}
        try:
            bank = read_labels(content)
        except (LabelError, OSError):
            return {}
        if (bank.templates, bank.space_id) != (self._templates, self._space_id):
            return {}
        return dict(zip(bank.names, bank.vectors, strict=True))
