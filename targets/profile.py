"""A board as data: one TOML file each beside this module. Adding a board is adding a file.

A file with `base = "rpi"` states only what differs from that board; what it states, it gives sources for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets.cost import Published
from targets.facts import ProfileError, checked, require_known

__all__ = ["FOLDER", "Profile", "ProfileError", "load", "names", "parse"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Profile:
    """What the build must know of a board; MB are 2^20 bytes.

    `simd`: what speeds int8 products up: neon, dotprod (Arm's dot product instructions) or x86. `threads`: what `classify` uses there.
    `memory_mb`: the board's, `peak_mb`: what `classify` may take of it, `model_mb`: the largest bundle. `image_px`: the longest side
    of a model's image. `latency_ms`: what an image may take at full depth. `bandwidth_gb_s`: of a plain copy. `stream`: the
    residual stream that the ladder's table justifies there. `exits`: shares of the depth, where the board wants others than the
    default. `types` are those of tensors that its kernels take, `forbidden` operators that they lack or compute wrongly.
    `published`: times that others measured on it. `tile_rows`: how many rows the kernel of its int8 products computes at once, 0 where
    that is not known. `sources`: where each fact comes from, by key.

    `runtime`: litert, or tflm (TensorFlow Lite Micro) on a microcontroller; there `model_mb` is flash for weights and labels, `arena_kb`
    the RAM that TensorFlow Lite Micro's arena may take, in 2^10 bytes, and `vela` what Vela compiles for (accelerator, system, memory
    mode), empty without an Ethos-U.
    """

    name: str
    title: str
    cpu: str
    clock_mhz: int
    cores: int
    simd: str
    tile_rows: int
    threads: int
    memory_mb: int
    peak_mb: int
    model_mb: int
    storage: str
    image_px: int
    latency_ms: int
    bandwidth_gb_s: float
    stream: str
    exits: tuple[float, ...]
    types: tuple[str, ...]
    forbidden: tuple[str, ...]
    published: tuple[Published, ...]
    sources: Mapping[str, str]
    runtime: str = "litert"
    arena_kb: int = 0
    vela: str = ""

    @property
    def micro(self) -> bool:
        """Whether this is a microcontroller: stages as files of their own, and C in place of `classify`."""
        return self.runtime == "tflm"

    def exits_of(self, blocks: int) -> tuple[int, ...] | None:
        """The board's own exits as counts of blocks done, None where it wants no others than the default."""
        chosen = {max(1, round(blocks * share)) for share in self.exits} - {blocks}
        return tuple(sorted(chosen)) or None


def names() -> tuple[str, ...]:
    """All profiles, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Profile:
    """The profile of that name. Raises ProfileError naming those that exist, or the key that is missing, unknown or ill-typed."""
    return parse(name, _read(name))


def parse(name: str, table: Mapping[str, Any]) -> Profile:
    """The profile in a parsed TOML table, completed by its base; every key must be known, sourced, of its type and possible."""
    return Profile(name=name, **checked(name, _complete(name, table, (name,))))


def _complete(name: str, table: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """The table over its base's, without the key `base`."""
    require_known(name, table)
    own = {key: value for key, value in table.items() if key != "base"}
    base = table.get("base")
    if base is None:
        return own
    if not isinstance(base, str) or base in seen or base not in names():
        others = ", ".join(other for other in names() if other not in seen)
        raise ProfileError(f"target {name}: base should be another board, one of {others}; found {base!r:.60}")
    given = _complete(base, _read(base), (*seen, base))
    return {**given, **own, "sources": {**given["sources"], **own.get("sources", {})}}


def _read(name: str) -> dict[str, Any]:
    if name not in names():
        raise ProfileError(f"no target {name!r}; there are: {', '.join(names())}")
    try:
        return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    except ValueError as error:  # of TOML's syntax, or of UTF-8
        raise ProfileError(f"target {name}: {name}.toml should be TOML in UTF-8: {error}") from error
