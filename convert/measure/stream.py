"""Any number of labelled images through the integer file and the float stages, in chunks, so that a run that was cut off goes on.

Only what comes out is kept, a kilobyte or two an image; images are read again where some are to be shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.samples import Sample, tensor_of
from convert.stages.float_replay import float_replay
from convert.stages.stage import Stage
from convert.support.files import write_atomically
from convert.support.progress import Progress
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.exits.replay import Replay, replay
from tflite_runtime_app.inference.cascade import Cascade

CHUNK = 128
_ARRAYS = ("embeddings", "variances", "ms", "float_embeddings", "float_variances")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Images through both networks at full depth; `float_found` took no time worth the name. `skipped` could not be read."""

    names: tuple[str, ...]
    folders: tuple[str, ...]
    found: Replay
    float_found: Replay
    skipped: tuple[str, ...]

    def chosen(self, places: Sequence[int]) -> Seen:
        """The images at these places."""
        names, folders = (tuple(listed[k] for k in places) for listed in (self.names, self.folders))
        return Seen(names, folders, self.found.chosen(places), self.float_found.chosen(places), self.skipped)


@dataclass(frozen=True, slots=True)
class Networks:
    """The two networks that images go through, and how an image becomes their input."""

    preprocessing: Preprocessing
    cascade: Cascade
    stages: tuple[Stage, ...]


def through_both(items: Iterator[Sample], total: int, networks: Networks, kept: Path, key: str, progress: Progress) -> Seen:
    """All images seen. Every chunk is a file in the folder `kept`; those of an earlier run with the same `key` are not computed again."""
    parts = _earlier(kept, key)
    done = sum(len(part.names) + len(part.skipped) for part in parts)
    chunk: list[Sample] = []

    def finish() -> None:
        parts.append(_chunk(chunk, networks))
        write_atomically(_file(kept, len(parts) - 1), _bytes(parts[-1], key))
        chunk.clear()

    for number, item in enumerate(progress.over(items, total, "images through both networks")):
        if number >= done:
            chunk.append(item)
        if len(chunk) == CHUNK:
            finish()
    if chunk:
        finish()
    return _joined(parts or [_chunk([], networks)])


def _chunk(chunk: Sequence[Sample], networks: Networks) -> Seen:
    names, folders, tensors, skipped = [], [], [], []
    for item in chunk:
        try:
            tensors.append(tensor_of(item, networks.preprocessing))
        except SourceError as error:
            skipped.append(str(error))
            continue
        names.append(item.name)
        folders.append(item.folder)
    floats = _floats(networks.stages, tensors)
    return Seen(tuple(names), tuple(folders), replay(networks.cascade, tensors), floats, tuple(skipped))


def _floats(stages: Sequence[Stage], tensors: Sequence[NDArray[np.int8]]) -> Replay:
    shape = stages[0].input_shape()[1:]
    return float_replay(stages, np.stack(tensors) if tensors else np.zeros((0, *shape), np.int8))


def _joined(parts: Sequence[Seen]) -> Seen:
    found, floats = (
        Replay(*(np.concatenate([getattr(part, name) for part in replays]) for name in ("embeddings", "variances", "ms")))
        for replays in ([part.found for part in parts], [part.float_found for part in parts])
    )
    names, folders, skipped = (sum((getattr(part, name) for part in parts), ()) for name in ("names", "folders", "skipped"))
    return Seen(names, folders, found, floats, skipped)


def _file(kept: Path, number: int) -> Path:
    return kept / f"{number:05}.npz"


def _earlier(kept: Path, key: str) -> list[Seen]:
    """The whole chunks that an earlier run left, in order, up to the first that is missing, damaged, not full or another run's."""
    found: list[Seen] = []
    while (part := _read(_file(kept, len(found)), key)) is not None:
        found.append(part)
        if len(part.names) + len(part.skipped) < CHUNK:
            break  # the last one; whatever comes after it is new
    return found


def _bytes(seen: Seen, key: str) -> bytes:
    values = (seen.found.embeddings, seen.found.variances, seen.found.ms, seen.float_found.embeddings, seen.float_found.variances)
    texts = {name: np.array(getattr(seen, name), np.str_) for name in ("names", "folders", "skipped")}
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), **texts, **dict(zip(_ARRAYS, values, strict=True)))
    return buffer.getvalue()


def _read(path: Path, key: str) -> Seen | None:
    """A chunk of an earlier run, None where there is none of the same key that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            names, folders, skipped = (tuple(map(str, arrays[name])) for name in ("names", "folders", "skipped"))
            embeddings, variances, ms, float_embeddings, float_variances = (arrays[name] for name in _ARRAYS)
    except Exception:  # missing, cut short, another format: it is computed again
        return None
    floats = Replay(float_embeddings, float_variances, np.zeros_like(ms))
    return Seen(names, folders, Replay(embeddings, variances, ms), floats, skipped)
