"""A finished file held against a board: operators and types, size, memory as measured, and milliseconds as predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convert.board.footprint import Footprint, measure
from convert.board.work import unfit, work
from targets.cost import CostModel, Error, Work, fit, leave_one_out
from targets.memory import MB
from targets.profile import Profile
from targets.tiles import Tiles, tiles
from tflite_runtime_app.admission.flatbuffer_check import check as check_flatbuffer
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit: what was found, what the board allows, in `unit`; `kept` is None where it could not be judged, for the reason `why`."""

    what: str
    found: float | None
    limit: float
    unit: str
    kept: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class StageTime:
    """A signature's work, and the milliseconds predicted for it; None where nothing was published for the board."""

    signature: str
    macs: float
    bytes: float
    islands: int
    plain_cycles: float
    ms: float | None


@dataclass(frozen=True, slots=True)
class Checked:
    """All of it. `error` is that of the cost model on published times, None where there are too few to leave one out."""

    target: str
    threads: int
    verdicts: tuple[Verdict, ...]
    stages: tuple[StageTime, ...]
    ms: float | None
    error: Error | None
    footprint: Footprint
    tiles: Tiles | None  # of its tokens, None where the board's are not known

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """The limits that are not kept."""
        return tuple(verdict for verdict in self.verdicts if verdict.kept is False)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; no time in it was measured on a board."""
        return {**dataclasses.asdict(self), "measured_on_a_board": False, "missed": [verdict.what for verdict in self.missed]}


def check(bundle: Bundle, profile: Profile) -> Checked:
    """Every verdict. Raises BundleError for a flatbuffer that the board's program refuses, ConvertError when it does not run here."""
    check_flatbuffer(bundle.flatbuffer)  # before anything runs it
    footprint = measure(bundle.path)
    constants = (profile.threads, profile.bandwidth_gb_s, profile.clock_mhz)
    cost, error = fit(profile.published, *constants), leave_one_out(profile.published, *constants)
    stages = tuple(_stage(key, found, cost) for key, found in work(bundle.flatbuffer).items())
    ms = None if cost is None else sum(stage.ms for stage in stages if stage.ms is not None)
    verdicts = _verdicts(bundle, profile, footprint, ms)
    filled = tiles_of(bundle.manifest, profile)
    return Checked(profile.name, profile.threads, verdicts, stages, ms, error, footprint, tiles=filled)


def tiles_of(manifest: Manifest, profile: Profile) -> Tiles | None:
    """How a later stage's tokens fill the board's tiles; None for a file of one stage too, whose manifest does not tell them."""
    tokens = next((given.shape[1] for stage in manifest.stages for given in stage.inputs if given.name == "hidden"), None)
    return None if tokens is None else tiles(tokens, profile.tile_rows)


def _stage(key: str, found: Work, cost: CostModel | None) -> StageTime:
    ms = None if cost is None else cost.ms(found)
    return StageTime(key, found.macs, found.bytes, found.islands, found.plain_cycles, ms)


def _verdicts(bundle: Bundle, profile: Profile, footprint: Footprint, ms: float | None) -> tuple[Verdict, ...]:
    lacking = unfit(bundle.flatbuffer, profile.types, profile.forbidden)
    preprocessing = bundle.manifest.preprocessing
    side = max(preprocessing.height, preprocessing.width)
    unknown = f"nothing was published for {profile.name}; measure with: convert bench"
    return (
        none_lacking(lacking),
        at_most("file", bundle.path.stat().st_size / MB, profile.model_mb, "MB"),
        at_most("peak memory, measured here", footprint.peak_bytes / MB, profile.peak_mb, "MB"),
        at_most("longest side of an image", side, profile.image_px, "px"),
        at_most("latency, predicted", ms, profile.latency_ms, "ms", unknown),
    )


def none_lacking(lacking: Sequence[str]) -> Verdict:
    """The verdict on operators and types that kernels lack, the first three of them named."""
    shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    return Verdict("operators and types its kernels lack", len(lacking), 0, "", not lacking, shown)


def at_most(what: str, found: float | None, limit: float, unit: str, unknown: str = "") -> Verdict:
    """The verdict on what was found; `unknown` says why nothing was."""
    return Verdict(what, found, limit, unit, None if found is None else found <= limit, unknown if found is None else "")
