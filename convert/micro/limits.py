"""Stages of a microcontroller's build held against a part: operators and types, flash, arena as measured, and milliseconds as predicted."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.board.check import Verdict, at_most, none_lacking
from convert.board.work import lacking
from convert.micro import vela
from convert.micro.folder import read_report, read_stages
from convert.micro.measure import VELA_TAIL, StageFigures, predicted_by, stage_figures, trust
from convert.micro.split import TFLM, io_bytes
from convert.micro.tflm import Arena, run
from convert.support.errors import ConvertError
from convert.tflite.flatbuffer import read_model
from targets.cost import Error
from targets.memory import MB
from targets.profile import Profile


@dataclass(frozen=True, slots=True)
class MicroChecked:
    """Every verdict, and the figures of the stages that run; none where an operator is missing."""

    target: str
    verdicts: tuple[Verdict, ...]
    stages: tuple[StageFigures, ...]
    ms: float | None
    predicted_by: str
    error: Error | None

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """The limits that are not kept."""
        return tuple(verdict for verdict in self.verdicts if verdict.kept is False)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; no time in it was measured on a part."""
        return {**dataclasses.asdict(self), "measured_on_a_part": False, "missed": [verdict.what for verdict in self.missed]}


def check(path: Path, profile: Profile) -> MicroChecked:
    """`path` is a folder that a build left, or one stage's file. Raises ConvertError for files that no runtime takes."""
    plain, compiled = read_stages(path)
    told = [f"{what} in {name}" for name, content in plain.items() for what in unfit(content, profile)]
    stages = tuple(_figures(name, content, profile) for name, content in plain.items()) if not told else ()
    labels = read_report(path).get("micro", {}).get("flash", {}).get("labels", 0) if path.is_dir() else 0
    size = sum(map(len, (compiled if profile.vela and compiled else plain).values())) + labels
    times = [stage.ms for stage in stages if stage.ms is not None]
    ms = sum(times) if stages and len(times) == len(stages) else None
    verdicts = (
        none_lacking(told),
        *(_on_cpu(stages) if profile.vela and stages else ()),
        at_most("flash, without the program", size / MB, profile.model_mb, "MB"),
        at_most("arena", _arena(stages) / 1024 if stages else None, profile.arena_kb, "KB", "a stage was not run"),
        *_longest_side(plain, profile),
        at_most("latency, predicted", ms, profile.latency_ms, "ms", f"nothing was published for {profile.name}"),
    )
    return MicroChecked(profile.name, verdicts, stages, ms, predicted_by(profile), trust(profile))


def unfit(content: bytes, profile: Profile) -> tuple[str, ...]:
    """What of a stage's file TensorFlow Lite Micro or the part lacks, each named once with how many there are."""
    try:
        model = read_model(content)
        graphs = model.subgraphs
        found: Counter[str] = Counter()
        for graph in graphs:
            found += lacking(model, graph, profile.types, lambda name: name in profile.forbidden or name not in TFLM)
    except Exception as error:  # a flatbuffer that is none fails in a dozen ways
        raise ConvertError(
            f"expected a TensorFlow Lite file, found something else ({type(error).__name__}); build it again"
        ) from error
    several = (f"{len(graphs)} subgraphs in place of one",) if len(graphs) != 1 else ()
    return (*several, *(f"{count} {what}" for what, count in found.items()))


def _figures(name: str, content: bytes, profile: Profile) -> StageFigures:
    sizes, _ = io_bytes(content)
    random = np.random.default_rng(0)
    arena = run(content, [random.integers(-128, 128, (1, size)).astype(np.int8) for size in sizes]).arena
    estimate = vela.compile_stage(content, profile.vela).figures if profile.vela else None
    return stage_figures(Path(name).stem, content, arena, None, estimate, profile)


def _arena(stages: tuple[StageFigures, ...]) -> int:
    """What one arena must have for all stages in turn; with an Ethos-U by Vela's figures."""
    estimates = [stage.vela.sram_bytes for stage in stages if stage.vela is not None]
    arenas: list[Arena] = [stage.arena for stage in stages]
    return max(estimates) + VELA_TAIL if estimates else max(arena.enough for arena in arenas)


def _on_cpu(stages: tuple[StageFigures, ...]) -> tuple[Verdict, ...]:
    left = sum(stage.vela.cpu_operators for stage in stages if stage.vela is not None)
    return (Verdict("operators that the Ethos-U leaves to the CPU", left, 0, "", left == 0),)


def _longest_side(plain: dict[str, bytes], profile: Profile) -> tuple[Verdict, ...]:
    """The longest side of an image, of a stage that takes one."""
    for content in plain.values():
        (graph,) = read_model(content).subgraphs[:1]
        shape = [int(n) for n in graph.tensors[int(graph.inputs[0])].shape]
        if len(shape) == 4 and shape[-1] == 3:
            return (at_most("longest side of an image", max(shape[1:3]), profile.image_px, "px"),)
    return ()
