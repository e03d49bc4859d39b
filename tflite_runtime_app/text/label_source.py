"""Where labels come from at run time: the bundle, a label matrix, a file of names that may change, or names typed in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tflite_runtime_app.admission.open import accepted_labels
from tflite_runtime_app.admission.signing import PublicKey
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank, check_space
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.files import cache_folder, is_file, what_it_is
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.changed_files import ChangedFiles

if TYPE_CHECKING:
    from tflite_runtime_app.text.label_list import LabelList

MATRIX = ".npz"
# What a board of 512 MB has room for, whatever somebody types or puts there. Labels: as many as the cache holds; bytes: of the files.
MOST_LABELS, MOST_TEXT, MOST_MATRIX = 10_000, 2 << 20, 48 << 20


class LabelSource:
    """What --labels, --bank and --text mean for a bundle. Everything it raises is a LabelError of one line.

    `labels` is a label matrix (.npz), a text file of names, names separated by commas, or None for the bundle's own labels; `bank` a label
    matrix to pick names from; `text` the text tower's file, by default the one beside the bundle, where there is one. `tell` is called with
    a line now and then while many vectors are made. `cache` is the folder that remembers vectors, `clock` gives seconds. With a
    `key`, label matrices and the text tower must be signed by it; names in a text file are data and need no signature.
    """

    def __init__(
        self,
        bundle: Bundle,
        labels: str | None = None,
        bank: str | None = None,
        text: str | None = None,
        threads: int = 1,
        *,
        tell: Callable[[str], None] = lambda line: None,
        cache: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        key: PublicKey | None = None,
    ) -> None:
        if bank is not None and labels is None:
            raise LabelError(
                "--bank holds vectors for names to be picked from; say which with --labels FILE or --labels 'a, b, c'"
            )
        if text is not None and not is_file(text):
            if kind := what_it_is(text):
                raise LabelError(f"--text {text}: expected a text tower, found {kind}; check the path")
            raise LabelError(f"--text {text}: no such file; make it with: convert text {bundle.path.name}")
        self._bundle, self._labels, self._bank, self._key = bundle, labels, bank, key
        self._list = None if labels is None or labels.endswith(MATRIX) else _label_reader(labels)
        self._tower = text_path(bundle.path) if text is None else Path(text)
        self._cache, self._threads, self._tell = cache or cache_folder("labels"), threads, tell
        self._files = ChangedFiles([Path(word) for word in (labels, bank) if word is not None and is_file(word)], clock=clock)
        self._lock = threading.Lock()  # one text tower at a time is as much as a board has room for
        self._reading: _Reading | None = None

    def read(self) -> LabelBank:
        """The labels as the options say."""
        with self._lock:
            return self._read()

    def changed(self) -> LabelBank | None:
        """The labels anew when the files they come from have changed, else None; looks at most once a second, and never keeps the loop.

        They are read in a thread of their own, since a hundred new names may take the text tower minutes. A file that is broken now is
        reported once, by the LabelError; it is read again when it changes again. To be called from one thread.
        """
        reading = self._reading
        if reading is None:
            if self._files.changed():
                self._reading = _Reading(self.read)
            return None
        if not reading.done.is_set():
            return None
        self._reading = None
        return reading.result()

    def change(self, text: str) -> LabelBank:
        """The labels that `text` names, separated by commas or lines; they hold until the files change or another text comes."""
        if len(text.encode(errors="replace")) > MOST_TEXT:
            raise LabelError(f"expected at most {MOST_TEXT >> 20} MB of labels, found {len(text)} characters; give fewer")
        from tflite_runtime_app.text.label_list import typed_labels

        names = typed_labels(text, "the list").names
        with self._lock:
            bank = self._of_names(names)
            self._reading = None  # what a file said before is out of date
            return bank

    def _read(self) -> LabelBank:
        if self._labels is None:
            return self._own()
        if self._list is None:
            return self._matrix(self._labels)
        if is_file(self._labels):
            _check_size(self._labels, MOST_TEXT, "take fewer labels")
        return self._of_names(self._list().names)

    def _own(self) -> LabelBank:
        bundle = self._bundle
        if bundle.labels is None:
            raise LabelError(
                f"{bundle.path} holds no labels; make some with: convert labels {bundle.path} --labels LABELS.txt --out labels.npz "
                "and pass them with --labels labels.npz"
            )
        return bundle.labels

    def _matrix(self, path: str) -> LabelBank:
        _check_size(path, MOST_MATRIX, "make one of fewer labels with: convert labels")
        bank = accepted_labels(path, self._key)
        check_space(bank, self._bundle.manifest)
        return bank

    def _of_names(self, names: Sequence[str]) -> LabelBank:
        if len(names) > MOST_LABELS:
            raise LabelError(f"expected at most {MOST_LABELS} labels, found {len(names)}; give fewer")
        bundle = self._bundle
        banks = [None if self._bank is None else self._matrix(self._bank), bundle.labels, bundle.background]
        from tflite_runtime_app.text.vectors import VectorMaker

        maker = VectorMaker(self._bundle.manifest, self._tower, self._cache, self._threads, self._tell, self._key)
        return maker.bank(names, [bank for bank in banks if bank is not None])


def _label_reader(labels: str) -> Callable[[], LabelList]:
    from tflite_runtime_app.text.label_list import label_reader  # late, as the text tower: a bundle's own labels need neither

    return label_reader(labels)


def _check_size(path: str, most: int, remedy: str) -> None:
    """Returns when the file has at most `most` bytes, or cannot be asked: whoever reads it says why."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return
    if size > most:
        raise LabelError(f"{path}: expected at most {most >> 20} MB, found {size / (1 << 20):.0f}; {remedy}")


class _Reading:
    """A call under way in a thread of its own, which does not keep the program from ending."""

    def __init__(self, read: Callable[[], LabelBank]) -> None:
        self.done = threading.Event()
        self._bank: LabelBank | None = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, args=(read,), name="labels", daemon=True).start()

    def _run(self, read: Callable[[], LabelBank]) -> None:
        try:
            self._bank = read()
        except Exception as error:
            self._error = error
        self.done.set()

    def result(self) -> LabelBank | None:
        """What the call gave, once it is done. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._bank
