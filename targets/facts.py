"""What a board's file may say: every key with its type and its bounds, and a source for every fact that the file states."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from targets.cost import NETWORKS, Published


class ProfileError(ValueError):
    """A profile does not exist, or its file holds something unexpected."""


STREAMS, SIMD = ("two_term", "int8"), ("neon", "dotprod", "x86", "helium", "pie")
RUNTIMES = ("litert", "tflm")  # LiteRT under `classify`, or TensorFlow Lite Micro under C
# Key -> (type, least, most); bounds are for numbers and keep a slip of units (bytes for megabytes, seconds for milliseconds) out.
NUMBERS: dict[str, tuple[type, float, float]] = {
    "clock_mhz": (int, 100, 10_000),
    "cores": (int, 1, 1024),
    "threads": (int, 1, 1024),
    "memory_mb": (int, 64, 4_000_000),
    "peak_mb": (int, 32, 4_000_000),
    "model_mb": (int, 1, 2048),  # a flatbuffer's offsets end at 2 GB
    "image_px": (int, 16, 4096),
    "latency_ms": (int, 1, 600_000),
    "bandwidth_gb_s": (float, 0.01, 10_000),
    "tile_rows": (int, 0, 64),  # 0: none, or not known
    "arena_kb": (int, 0, 1 << 20),
}
MICRO_LEAST = {"memory_mb": 1, "peak_mb": 1, "arena_kb": 16}  # of a microcontroller
OPTIONAL: dict[str, int | str] = {"runtime": "litert", "arena_kb": 0, "vela": ""}  # what microcontrollers state beside the rest
WORDS = ("title", "cpu", "simd", "storage", "stream")
LISTS = {"exits": float, "types": str, "forbidden": str, "published": dict}
KEYS = frozenset({*NUMBERS, *WORDS, *LISTS, *OPTIONAL, "sources"})
UNSOURCED = frozenset({"title", "base", "sources"})


def require_known(name: str, table: Mapping[str, Any]) -> None:
    """Returns when `table`, one board's own file, has known keys only and a source for each fact."""
    for key in table:
        if key not in KEYS | {"base"}:
            raise ProfileError(f"target {name}: unknown key {key!r}{_nearest(key, KEYS | {'base'})}")
    sources = table.get("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(source, str) and source.strip() for source in sources.values()):
        raise ProfileError(f"target {name}: sources should be a table of sentences by key, found {sources!r:.60}")
    for key in sources:
        if key not in KEYS - UNSOURCED:
            raise ProfileError(f"target {name}: a source for the unknown fact {key!r}{_nearest(key, KEYS - UNSOURCED)}")
    missing = sorted(set(table) - UNSOURCED - set(sources))
    if missing:
        raise ProfileError(f"target {name}: no source for {', '.join(missing)}; say under [sources] where each fact comes from")


def checked(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The facts in the types of `Profile`. Raises ProfileError for what is missing, ill-typed, or cannot be."""
    missing = sorted(KEYS - set(table) - set(OPTIONAL))
    if missing:
        raise ProfileError(f'target {name}: missing {", ".join(missing)}; state them, or take another board\'s with base = "rpi"')
    table = {**OPTIONAL, **table}
    facts: dict[str, Any] = {key: _word(name, key, table[key]) for key in (*WORDS, "runtime")}
    _one_of(name, "runtime", facts["runtime"], RUNTIMES)
    micro = facts["runtime"] == "tflm"
    facts |= {key: _number(name, key, table[key], MICRO_LEAST.get(key, 0) if micro else None) for key in NUMBERS}
    facts["vela"] = _vela(name, table["vela"])
    facts |= {key: _list(name, key, table[key], kind) for key, kind in LISTS.items()}
    facts["published"] = tuple(_published(name, entry) for entry in facts["published"])
    _one_of(name, "stream", facts["stream"], STREAMS)
    _one_of(name, "simd", facts["simd"], SIMD)
    in_flash = () if micro else (("model_mb", "peak_mb"),)  # a microcontroller reads weights where they lie
    for small, large in (("threads", "cores"), *in_flash, ("peak_mb", "memory_mb")):
        if facts[small] > facts[large]:
            raise ProfileError(f"target {name}: {small} is {facts[small]}, expected at most {large}, which is {facts[large]}")
    if facts["arena_kb"] > 1024 * facts["peak_mb"]:
        raise ProfileError(
            f"target {name}: arena_kb is {facts['arena_kb']}, expected at most peak_mb, which is {facts['peak_mb']} MB"
        )
    exits = facts["exits"]
    if list(exits) != sorted(set(exits)) or not all(0 < share < 1 for share in exits):
        raise ProfileError(f"target {name}: exits should be growing shares of the depth between 0 and 1, found {list(exits)}")
    if not facts["types"]:
        raise ProfileError(f'target {name}: types is empty; name the tensor types that the kernels take, as in ["INT8"]')
    return {**facts, "sources": dict(table["sources"])}


def _word(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ProfileError(f"target {name}: {key} should be a text, found {value!r:.60}")
    return value


def _vela(name: str, value: Any) -> str:
    """Empty, or Vela's names of accelerator, system and memory mode."""
    if not isinstance(value, str) or len(value.split()) not in (0, 3):
        raise ProfileError(
            f"target {name}: vela should name accelerator, system and memory mode as Vela does, in one text; found {value!r:.60}"
        )
    return value


def _number(name: str, key: str, value: Any, other_least: int | None) -> int | float:
    """`other_least` takes the place of the usual lower bound; 0 stands for the usual one."""
    kind, least, most = NUMBERS[key]
    least = other_least or least
    accepted = (int, float) if kind is float else (int,)
    if not isinstance(value, accepted) or isinstance(value, bool):
        wanted = "a number" if kind is float else "a whole number"
        raise ProfileError(f"target {name}: {key} should be {wanted}, found {value!r:.60}")
    if not least <= value <= most:  # a nan is refused too
        raise ProfileError(f"target {name}: {key} should be between {least} and {most}, found {value!r}")
    number: int | float = kind(value)
    return number


def _list(name: str, key: str, value: Any, kind: type) -> tuple[Any, ...]:
    words = {str: "texts", float: "numbers", dict: "tables"}[kind]
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, list) or not all(isinstance(item, accepted) and not isinstance(item, bool) for item in value):
        raise ProfileError(f"target {name}: {key} should be a list of {words}, found {value!r:.60}")
    return tuple(value)


def _published(name: str, entry: Mapping[str, Any]) -> Published:
    kinds = {"network": (str,), "runtime": (str,), "threads": (int,), "ms": (int, float)}
    if set(entry) != set(kinds) or not all(
        isinstance(entry[key], kind) and not isinstance(entry[key], bool) for key, kind in kinds.items()
    ):
        raise ProfileError(f"target {name}: published should give network, runtime, threads and ms, found {dict(entry)!r:.90}")
    _one_of(name, "published network", entry["network"], tuple(NETWORKS))
    if not (entry["threads"] >= 1 and entry["ms"] > 0):
        raise ProfileError(
            f"target {name}: published {entry['network']} should have threads and ms above 0, found {dict(entry)!r:.90}"
        )
    return Published(entry["network"], entry["runtime"], entry["threads"], float(entry["ms"]))


def _one_of(name: str, key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ProfileError(f"target {name}: {key} {value!r} is none of {', '.join(known)}")


def _nearest(key: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(key, sorted(known), 1)
    return f"; the nearest known one is {close[0]!r}" if close else f"; known are {', '.join(sorted(known))}"
