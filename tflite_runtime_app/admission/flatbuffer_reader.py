"""A flatbuffer read into frozen dataclasses, every offset checked against the bytes there are.

LiteRT follows offsets as it finds them. Here a table is a dataclass whose fields name their slots; a slot that no field names is refused,
so that nothing reaches LiteRT which was not looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np

from tflite_runtime_app.errors import BUILD_AGAIN, BundleCorrupt, BundleIncompatible

T = TypeVar("T")
MAX_TABLES = 100_000  # forty blocks need some twelve thousand; a file may name one table over and over, and time would pass
_OFFSET, _LENGTH = struct.Struct("<i"), struct.Struct("<I")
_VTABLE_START = struct.Struct("<2H")
_SCALARS = {code: struct.Struct(f"<{code}") for code in "bBiIqQf?"}
_ARRAYS = {"B": "u1", "i": "<i4", "f": "<f4", "q": "<i8"}


@dataclass(frozen=True, slots=True)
class _Slot:
    number: int
    kind: Literal["scalar", "vector", "text", "table", "tables", "union"]
    of: Any
    selector: str = ""


def scalar(slot: int, code: str, default: int | float | bool = 0) -> Any:
    """A field of a table: a number of struct's format `code`."""
    return dataclasses.field(default=default, metadata={"slot": _Slot(slot, "scalar", code)})


def vector(slot: int, code: str) -> Any:
    """A field of a table: an array of numbers, read in place; empty when absent."""
    empty = np.zeros(0, _ARRAYS[code])
    return dataclasses.field(default_factory=lambda: empty, metadata={"slot": _Slot(slot, "vector", code)})


def text(slot: int) -> Any:
    """A field of a table: a string in UTF-8 without a zero in it; empty when absent."""
    return dataclasses.field(default="", metadata={"slot": _Slot(slot, "text", None)})


def table(slot: int, of: type) -> Any:
    """A field of a table: another table, None when absent."""
    return dataclasses.field(default=None, metadata={"slot": _Slot(slot, "table", of)})


def tables(slot: int, of: type) -> Any:
    """A field of a table: a tuple of tables."""
    return dataclasses.field(default=(), metadata={"slot": _Slot(slot, "tables", of)})


def union(slot: int, selector: str, of: Mapping[int, type]) -> Any:
    """A field of a table: a table whose kind the field `selector`, standing before, tells; None when that is 0."""
    return dataclasses.field(default=None, metadata={"slot": _Slot(slot, "union", of, selector)})


def read_flatbuffer(data: bytes, root: type[T], identifier: bytes) -> T:
    """The root table. Raises BundleCorrupt where bytes point outside the file, BundleIncompatible for what `root` does not know."""
    if data[4:8] != identifier:
        raise BundleCorrupt(f"expected a flatbuffer of kind {identifier!r}, found {data[4:8]!r}; {BUILD_AGAIN}")
    reader = _Reader(data)
    found: T = reader.table(root, reader.target(0))
    return found


class _Reader:
    """Bytes, and how much of them may still be visited."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._vtables: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._tables_left = MAX_TABLES
        self._bytes_left = 2 * len(data) + (1 << 24)  # short vectors are shared by many tables

    def target(self, position: int) -> int:
        """Where the offset at `position` leads."""
        (offset,) = self._unpack(_LENGTH, position)
        return int(position + offset)

    def table(self, kind: type[T], position: int) -> T:
        self._tables_left -= 1
        if self._tables_left < 0:
            raise BundleIncompatible(f"expected at most {MAX_TABLES} tables in the model, found more; {BUILD_AGAIN}")
        size, offsets = self._vtable(position)
        fields = _fields(cast(Any, kind))
        values: dict[str, Any] = {}
        for number, offset in enumerate(offsets):
            if offset == 0:
                continue
            if number not in fields:
                raise BundleIncompatible(
                    f"the model's {kind.__name__} table has field {number}, which no bundle of this version has; {BUILD_AGAIN}"
                )
            name, slot = fields[number]
            values[name] = self._value(slot, position + offset, position + size, values)
        self._check_unions(fields, values)
        return kind(**values)

    def _vtable(self, position: int) -> tuple[int, tuple[int, ...]]:
        """The table's size, and for every slot the field's offset in it, 0 for an absent one."""
        start = position - self._unpack(_OFFSET, position)[0]
        if start not in self._vtables:  # tables of a kind share theirs
            length, size = self._unpack(_VTABLE_START, start, alignment=2)
            valid = length >= 4 and length % 2 == 0 and size >= 4 and start + length <= len(self._data)
            self._require(valid, start, "a table of fields")
            self._vtables[start] = size, struct.unpack_from(f"<{length // 2 - 2}H", self._data, start + 4)
        size, offsets = self._vtables[start]
        self._require(position + size <= len(self._data), position, "a table")
        return size, offsets

    def _value(self, slot: _Slot, position: int, end: int, before: Mapping[str, Any]) -> Any:
        if slot.kind == "scalar":
            form = _SCALARS[slot.of]
            self._require(position + form.size <= end, position, "a number inside its table")
            return self._unpack(form, position, alignment=form.size)[0]
        self._require(position + 4 <= end, position, "an offset inside its table")
        place = self.target(position)
        if slot.kind == "vector":
            return self._vector(place, np.dtype(_ARRAYS[slot.of]))
        if slot.kind == "text":
            return self._text(place)
        if slot.kind == "tables":
            starts = self._vector(place, np.dtype("<u4"))
            return tuple(self.table(slot.of, place + 4 + 4 * index + int(offset)) for index, offset in enumerate(starts))
        kind = slot.of
        if slot.kind == "union":
            selected = before.get(slot.selector, 0)
            if selected not in slot.of:
                raise BundleIncompatible(
                    f"the model has {slot.selector} {selected}, which no bundle of this version has; {BUILD_AGAIN}"
                )
            kind = slot.of[selected]
        return self.table(kind, place)

    def _vector(self, position: int, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
        (length,) = self._unpack(_LENGTH, position)
        size = length * kind.itemsize
        self._require(position + 4 + size <= len(self._data), position, f"{length} values")
        self._require((position + 4) % kind.itemsize == 0, position, "aligned values")
        self._bytes_left -= size
        self._require(self._bytes_left >= 0, position, "each value to be named a few times at most")
        return np.frombuffer(self._data, kind, length, position + 4)  # not a copy: constants are most of the file

    def _text(self, position: int) -> str:
        content = self._vector(position, np.dtype("u1")).tobytes()
        end = position + 4 + len(content)
        self._require(self._data[end : end + 1] == b"\0" and b"\0" not in content, position, "a string that ends in a zero")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise self._corrupt(position, "a string in UTF-8") from None

    def _unpack(self, form: struct.Struct, position: int, alignment: int = 4) -> tuple[Any, ...]:
        inside = 0 <= position <= len(self._data) - form.size
        self._require(inside and position % alignment == 0, position, "an aligned place inside the model")
        return form.unpack_from(self._data, position)

    def _check_unions(self, fields: Mapping[int, tuple[str, _Slot]], values: Mapping[str, Any]) -> None:
        for name, slot in fields.values():
            if slot.kind == "union" and (name in values) != (values.get(slot.selector, 0) != 0):
                raise BundleCorrupt(f"the model has {slot.selector} without {name}, or the reverse; {BUILD_AGAIN}")

    def _require(self, condition: bool, position: int, expected: str) -> None:
        if not condition:
            raise self._corrupt(position, expected)

    def _corrupt(self, position: int, expected: str) -> BundleCorrupt:
        return BundleCorrupt(
            f"expected {expected} at byte {position} of {len(self._data)} of the model, found otherwise: altered or damaged; {BUILD_AGAIN}"
        )


@functools.cache
def _fields(kind: Any) -> dict[int, tuple[str, _Slot]]:
    """Name and slot of every field by the slot's number."""
    slots = {field.name: field.metadata["slot"] for field in dataclasses.fields(kind)}
    return {slot.number: (name, slot) for name, slot in slots.items()}
