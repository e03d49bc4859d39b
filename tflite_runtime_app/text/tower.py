"""Sentences and labels to vectors, by the text tower in LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.errors import BundleIncompatible, InferenceError
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.text.file import REMEDY, TextFile
from tflite_runtime_app.text.signature import EMBEDDING, IDS, key_of
from tflite_runtime_app.text.tokenizer import Tokenizer

Vectors = npt.NDArray[np.float32]


class TextTower:
    """Interpreter and tokenizer: tens to hundreds of megabytes, so whoever is done with it lets it go.

    Raises BundleIncompatible when the machine, the installed LiteRT, or this program's tokenizer does not go with the file.
    """

    def __init__(self, file: TextFile, threads: int = 1) -> None:
        self._lengths, self._context = file.manifest.lengths, file.manifest.context
        self._tokenizer = Tokenizer()
        if self._tokenizer.size != file.manifest.vocabulary:
            raise BundleIncompatible(
                f"{file.path} expects {file.manifest.vocabulary} kinds of token, this program has {self._tokenizer.size}; "
                "make it with this version's: convert text BUNDLE"
            )
        self._engine: Any = LiteRtEngine(file.flatbuffer, threads)  # its types are those of the int8 image tower
        self._path = file.path
        for length in self._lengths:
            self._check(key_of(length), (1, length), (1, file.manifest.embedding_size))

    def _check(self, key: str, ids: tuple[int, int], embedding: tuple[int, int]) -> None:
        """The signature is there, and takes and gives what the manifest says."""
        found = self._engine.signatures.get(key)
        if found is None:
            raise BundleIncompatible(f"{self._path} has no signature {key}; {REMEDY}")
        shapes = {name: (facts.shape, facts.dtype) for name, facts in (*found.inputs.items(), *found.outputs.items())}
        wanted = {IDS: (ids, "int32"), EMBEDDING: (embedding, "float32")}
        if shapes != wanted:
            raise BundleIncompatible(f"{self._path}: signature {key} should have {wanted}, has {shapes}; {REMEDY}")

    def embed(self, sentence: str) -> Vectors:
        """The unit vector [E] of one sentence. Raises BundleIncompatible where the tower fails on it or gives no direction."""
        ids = self._tokenizer.encode(sentence, self._context)
        length = next(length for length in self._lengths if length >= len(ids))
        padded = np.zeros((1, length), np.int32)
        padded[0, : len(ids)] = ids
        try:
            found = self._engine.invoke(key_of(length), {IDS: padded})[EMBEDDING][0]
        except InferenceError as error:
            raise BundleIncompatible(f"{self._path} fails on {sentence!r:.60} ({error}); {REMEDY}") from error
        if not (np.isfinite(found).all() and found.any()):
            raise BundleIncompatible(f"{self._path} makes no direction of {sentence!r:.60}; {REMEDY}")
        return unit(found)

    def try_lengths(self) -> None:
        """Every signature ran, on a sentence of no words and on one that fills it with the last token but one. Raises as `embed`."""
        for length in self._lengths:
            for filler in (0, self._tokenizer.size - 3):
                ids = np.full((1, length), filler, np.int32)
                ids[0, 0], ids[0, -1] = self._tokenizer.size - 2, self._tokenizer.size - 1
                found = self._engine.invoke(key_of(length), {IDS: ids})[EMBEDDING]
                if not np.isfinite(found).all():
                    raise BundleIncompatible(f"signature {key_of(length)} gives numbers that are not finite; {REMEDY}")

    def label_vectors(self, names: Sequence[str], templates: Sequence[str], done: Callable[[int], None] | None = None) -> Vectors:
        """[names, E]: for each name the normalised mean, over the templates, of the sentences' unit vectors, as `convert labels` makes it.

        `done` is called after each name with how many are finished.
        """
        rows = []
        for name in names:
            rows.append(unit(np.sum([self.embed(template.replace("{}", name)) for template in templates], axis=0)))
            if done is not None:
                done(len(rows))
        return np.stack(rows)
