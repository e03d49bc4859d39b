"""A board as data: one TOML file each beside this module. Adding a board is adding a file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


class ProfileError(ValueError):
    """A profile does not exist, or its file holds something unexpected."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the build must know of a board.

    `forbidden` are operators that its kernels lack or compute wrongly, `model_mb` the largest file that leaves room to run,
    `threads` what `classify` uses there, `stream` the residual stream that the ladder's table justifies there, `sources` where each fact
    comes from.
    """

    name: str
    title: str
    cpu: str
    cores: int
    threads: int
    memory_mb: int
    model_mb: int
    stream: str
    forbidden: tuple[str, ...]
    sources: tuple[str, ...]


def names() -> tuple[str, ...]:
    """All profiles, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Profile:
    """The profile of that name. Raises ProfileError naming those that exist, or the key that is missing, unknown or ill-typed."""
    if name not in names():
        raise ProfileError(f"no target {name!r}; there are: {', '.join(names())}")
    return parse(name, tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")))


def parse(name: str, table: dict[str, Any]) -> Profile:
    """The profile in a parsed TOML table; every key must be known and of its type."""
    kinds: dict[str, type] = {
        "title": str,
        "cpu": str,
        "cores": int,
        "threads": int,
        "memory_mb": int,
        "model_mb": int,
        "stream": str,
    }
    expected = {field.name for field in dataclasses.fields(Profile)} - {"name"}
    if set(table) != expected:
        raise ProfileError(
            f"target {name}: unknown keys {sorted(set(table) - expected)}, missing {sorted(expected - set(table))}"
        )
    for key in expected:
        kind = kinds.get(key, list)
        if (
            not isinstance(table[key], kind)
            or isinstance(table[key], bool)
            or (kind is list and not all(isinstance(item, str) for item in table[key]))
        ):
            raise ProfileError(f"target {name}: {key} should be {kind.__name__}, found {table[key]!r:.60}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Profile(name=name, **values)
