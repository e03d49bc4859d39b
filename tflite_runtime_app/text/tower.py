"""Sentences and labels to vectors, by the text tower in LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.text.file import TextFile
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
        missing = [key_of(length) for length in self._lengths if key_of(length) not in self._engine.signatures]
        if missing:
            raise BundleIncompatible(f"{file.path} has no signature {missing[0]}; make it with: convert text BUNDLE")

    def embed(self, sentence: str) -> Vectors:
        """The unit vector [E] of one sentence."""
        ids = self._tokenizer.encode(sentence, self._context)
        length = next(length for length in self._lengths if length >= len(ids))
        padded = np.zeros((1, length), np.int32)
        padded[0, : len(ids)] = ids
        return unit(self._engine.invoke(key_of(length), {IDS: padded})[EMBEDDING][0])

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
