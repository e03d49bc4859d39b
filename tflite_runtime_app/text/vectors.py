"""Names become a label matrix: vectors that are there already first, then those the text tower has made before, then the text tower."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tflite_runtime_app.admission.signing import PublicKey, verify
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import BundleError, LabelError
from tflite_runtime_app.text.cache import LabelCache
from tflite_runtime_app.text.file import check_belongs, whole_digest
from tflite_runtime_app.text.ready import Ready
from tflite_runtime_app.text.tower import TextTower, Vectors
from tflite_runtime_app.text.trial import admit_text, checked_text

SLOW = 2.0  # seconds between two words on how far the text tower is


@dataclass(frozen=True, slots=True, eq=False)
class VectorMaker:
    """Makes label matrices for the bundle of `manifest`, by the text tower at `tower` where a vector is not ready.

    `cache` is the folder that remembers vectors; `tell` is called with a line now and then while the text tower is at work. With a `key`
    the text tower must be signed by it.
    """

    manifest: Manifest
    tower: Path
    cache: Path
    threads: int
    tell: Callable[[str], None]
    key: PublicKey | None = None

    def bank(self, names: Sequence[str], ready: Sequence[LabelBank]) -> LabelBank:
        """A vector for each name, in order; of `ready` the first bank counts, and those made with the same templates.

        Raises LabelError when a name's vector is neither ready nor can be made.
        """
        templates = ready[0].templates if ready else ()
        sources = [Ready(bank) for bank in ready if bank.templates == templates]
        vectors: dict[str, Vectors] = {}
        for source in reversed(sources):
            vectors |= {name: source.bank.vectors[row] for name in names if (row := source.row(name)) is not None}
        missing = [name for name in names if name not in vectors]
        if missing:
            if not self.tower.is_file():
                raise self._lacking(missing, sources)
            try:
                made, templates = self._made(missing, templates)
            except BundleError as error:
                raise LabelError(str(error)) from error
            vectors |= made
        return LabelBank(np.stack([vectors[name] for name in names]), tuple(names), templates, self.manifest.space_id)

    def _made(self, names: Sequence[str], templates: tuple[str, ...]) -> tuple[dict[str, Vectors], tuple[str, ...]]:
        """The names' vectors by the text tower, and the templates they were made with: the tower's own where none are given.

        What was remembered counts only for a tower that passes today: whole, and signed where a signature is asked for.
        """
        content = None if self.key is None else verify(self.tower, "text-tower", self.key)
        if templates and content is None:  # then what was made before does without holding the tower in memory
            digest = whole_digest(self.tower)
            known = LabelCache(self.cache, digest, templates, self.manifest.space_id).get(names) if digest else {}
            if len(known) == len(names):
                return known, templates
        file = checked_text(self.tower, content)
        check_belongs(file, self.manifest)
        templates = templates or file.manifest.templates
        cache = LabelCache(self.cache, file.digest, templates, self.manifest.space_id)
        known = cache.get(names)
        fresh = [name for name in names if name not in known]
        if fresh:
            admit_text(file)
            cache.add(fresh, TextTower(file, self.threads).label_vectors(fresh, templates, self._progress(len(fresh))))
        return cache.get(names), templates

    def _lacking(self, names: Sequence[str], sources: Sequence[Ready]) -> LabelError:
        near = sources[0].near(names) if sources else ", ".join(names[:3])
        return LabelError(
            f"no vectors for {near}; make the text tower with: convert text {self.manifest.name}-….tflite, and put it here: {self.tower}; "
            "or make a label matrix with: convert labels FILE --labels LABELS.txt --out labels.npz"
        )

    def _progress(self, total: int) -> Callable[[int], None]:
        """Tells now and then how many names are done, when it takes long."""
        last = time.monotonic()

        def done(count: int) -> None:
            nonlocal last
            if time.monotonic() - last >= SLOW and count < total:
                last = time.monotonic()
                self.tell(f"the text tower has read {count} of {total} labels")

        return done
