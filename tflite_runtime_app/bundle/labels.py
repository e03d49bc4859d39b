"""The label matrix: one unit vector per label, made on the workstation, so that the board needs no text model."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.bundle.npz import npz_bytes, read_npz
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.escaping.terminal import JOINERS
from tflite_runtime_app.files import read_regular

_REMEDY = "make it with: convert labels FILE --labels LABELS.txt --out labels.npz"
_KEYS = ("vectors", "names", "templates", "space_id")
# Rounding a unit vector to float16 moves its norm by less than 1e-3; anything further off was not a unit vector.
_NORM_TOLERANCE = 1e-2
_Float = TypeVar("_Float", np.float32, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class LabelBank:
    """Labels of one embedding space: `vectors` float32 [n, E] with rows of norm 1, one of `names` per row.

    `templates` are the sentences whose embeddings were averaged; `space_id` tells which model and text tower made them.
    """

    vectors: npt.NDArray[np.float32]
    names: tuple[str, ...]
    templates: tuple[str, ...]
    space_id: str


def read_labels(source: bytes | str | os.PathLike[str], where: str = "the bundle's labels.npz") -> LabelBank:
    """The label matrix in an npz file, given as its path or its bytes, which messages call `where`; rows are normalised again after
    float16.

    Raises LabelError when the file is missing, is no label matrix, or holds rows that are not finite unit vectors.
    """
    where = where if isinstance(source, bytes) else os.fspath(source)
    try:
        found = read_npz(source if isinstance(source, bytes) else read_regular(source), _KEYS)
    except FileNotFoundError:
        raise LabelError(f"{where}: no such file; {_REMEDY}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise LabelError(f"{where} should be a label matrix (npz), found: {reason}; {_REMEDY}") from error
    return _checked(found, where)


def labels_to_bytes(bank: LabelBank) -> bytes:
    """`bank` as an npz file: vectors float16, texts as numpy unicode. The same bank gives the same bytes on every run."""
    return npz_bytes(
        {
            "vectors": bank.vectors.astype(np.float16),
            "names": np.asarray(bank.names, dtype=np.str_),
            "templates": np.asarray(bank.templates, dtype=np.str_),
            "space_id": np.asarray(bank.space_id, dtype=np.str_),
        }
    )


def check_space(bank: LabelBank, manifest: Manifest) -> None:
    """Returns when `bank` belongs to the model of `manifest`; raises LabelError with the command that makes the right one."""
    if bank.space_id != manifest.space_id:
        raise LabelError(
            f"the labels were made for space {bank.space_id:.12}, this bundle ({manifest.name}) is space "
            f"{manifest.space_id:.12}; {_REMEDY}"
        )
    if bank.vectors.shape[1] != manifest.embedding_size:
        raise LabelError(
            f"the labels have vectors of {bank.vectors.shape[1]} numbers, this bundle ({manifest.name}) of "
            f"{manifest.embedding_size}; {_REMEDY}"
        )


def unit(vectors: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """`vectors` [..., E], each divided by its Euclidean norm; one of zeros stays."""
    lengths: npt.NDArray[_Float] = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), vectors.dtype.type(1e-12))
    return vectors / lengths


def unprintable(name: str) -> str:
    """The first character of `name` that must not get to a screen, "" for none: a line feed there, or a terminal's escape.

    Spaces of every kind are fit to be shown, and so are the joiners without which Persian, Hindi and many an emoji fall apart.
    """
    if name.isprintable():
        return ""
    return next((c for c in name if not (c.isprintable() or c in JOINERS or unicodedata.category(c) == "Zs")), "")


def _checked(found: dict[str, npt.NDArray[Any]], where: str) -> LabelBank:
    vectors, names, templates, space_id = (found[key] for key in _KEYS)
    if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype.kind != "f":
        raise LabelError(f"{where}: vectors should be floats [labels, width], found {vectors.dtype} {vectors.shape}; {_REMEDY}")
    texts = all(array.dtype.kind == "U" for array in (names, templates, space_id))
    if not texts or templates.ndim != 1 or space_id.ndim != 0:
        raise LabelError(f"{where}: names, templates and space_id should be texts; {_REMEDY}")
    if names.shape != (vectors.shape[0],) or not all(names):
        raise LabelError(f"{where}: {vectors.shape[0]} vectors need as many names, none empty, found {names.shape}; {_REMEDY}")
    if any(unprintable(str(name)) for name in names):
        raise LabelError(f"{where}: names should hold printable signs only, found control characters; {_REMEDY}")
    rows = vectors.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):  # written so that NaN fails too
        worst = int(np.argmax(np.where(np.isfinite(norms), np.abs(norms - 1), np.inf)))
        raise LabelError(
            f"{where}: the vector of {names[worst]!s:.40} has norm {float(norms[worst, 0]):.3g}, expected 1; {_REMEDY}"
        )
    return LabelBank(
        vectors=np.ascontiguousarray(unit(rows)),
        names=tuple(str(name) for name in names),
        templates=tuple(str(template) for template in templates),
        space_id=str(space_id),
    )
