"""JSON from a file of unknown origin as a frozen dataclass: every field there, of its type, in its range (`ranges.py`), or one refusal."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any, TypeVar

from tflite_runtime_app.bundle.ranges import Table, check_number, check_size, check_text
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible

T = TypeVar("T")
MAX_BYTES = 16 << 20  # of JSON text; the largest manifest known has 60 kB


def parsed_json(content: bytes | str, where: str, remedy: str = BUILD_AGAIN) -> Any:
    """`content` as JSON. Raises BundleIncompatible, which names `where`, for what is none, is nested too deeply or too long."""
    if len(content) > MAX_BYTES:
        raise BundleIncompatible(f"{where} has {len(content)} bytes, expected {MAX_BYTES} at most; {remedy}")
    try:
        return json.loads(content)
    except RecursionError:
        raise BundleIncompatible(f"{where} is nested too deeply; {remedy}") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise BundleIncompatible(f"{where} is not JSON ({error}); {remedy}") from error


def read_fields(kind: type[T], value: Any, where: str, table: Table) -> T:
    """`value`, parsed JSON, as an instance of the dataclass `kind`; `where` is what messages call it.

    Raises BundleIncompatible naming the first field that is missing, unknown, of another type or outside its range in `table`.
    """
    return typing.cast(T, _read_dataclass(kind, value, where, table))


def _read(kind: Any, value: Any, where: str, table: Table) -> Any:
    """`value` as an instance of the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, where, table)
    if origin is tuple and isinstance(value, list):
        check_size(table, where, len(value))
        return tuple(_read(arguments[0], item, f"{where}[{index}]", table) for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        check_size(table, where, len(value))
        for key in value:
            check_text(table, f"a name in {where}", key)
        return {key: _read(arguments[1], item, f"{where}.{key}", table) for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(arguments[0], value, where, table)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (kind is float or (kind is int and isinstance(value, int))):
        check_number(table, where, value)
        return kind(value)
    if kind is str and isinstance(value, str):
        check_text(table, where, value)
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise BundleIncompatible(f"{where} should be {expected}, found {value!r:.60}; {table.remedy}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read_dataclass(kind: type, value: Any, where: str, table: Table) -> Any:
    if not isinstance(value, dict):
        raise BundleIncompatible(f"{where} should be an object, found {value!r:.60}; {table.remedy}")
    hints = _hints(kind)
    unknown = [f"{name:.40}" for name in sorted(set(value) - set(hints))[:5]]
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(value))
    if unknown or missing:
        raise BundleIncompatible(
            f"{where} has unknown fields {unknown} and lacks {missing}; it was written by another version; {table.remedy}"
        )
    return kind(**{name: _read(hints[name], item, f"{where}.{name}", table) for name, item in value.items()})
