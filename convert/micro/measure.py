"""Everything that is measured or estimated of a microcontroller's stages, gathered for its report."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.board.work import UNMOVED, bytes_moved, largest
from convert.micro import vela
from convert.micro.agreement import Agreement, StageRun, run_stages
from convert.micro.split import StageFile
from convert.micro.tflm import Arena
from convert.micro.vela import Compiled, VelaFigures
from convert.support.progress import Progress
from convert.tflite.audit import count
from convert.tflite.flatbuffer import operator_name, read_model, squares
from targets.cost import CostModel, Error, Work, fit, leave_one_out
from targets.profile import Profile

# Bytes beside Vela's own memory, for TensorFlow Lite Micro's tensors: a guess, its arena cannot be tried here.
VELA_TAIL = 32 << 10
PRODUCTS = frozenset({"CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"})


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage. `ms` is predicted, by Vela where there is one, else from published times; None where there is neither.

    `agreement` is None where only TensorFlow Lite Micro ran.
    """

    key: str
    bytes: int
    operators: dict[str, int]
    macs: int
    arena: Arena
    agreement: Agreement | None
    vela: VelaFigures | None
    ms: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All stages' figures; `runs` are what they gave on the images, `compiled` Vela's files where the target has an Ethos-U."""

    stages: tuple[StageFigures, ...]
    runs: tuple[StageRun, ...]
    compiled: tuple[Compiled, ...]
    error: Error | None
    predicted_by: str

    @property
    def arena_bytes(self) -> int:
        """What one arena must have for all stages in turn."""
        if self.compiled:
            return max(stage.figures.sram_bytes for stage in self.compiled) + VELA_TAIL
        return max(stage.arena.enough for stage in self.stages)

    @property
    def ms(self) -> float | None:
        """Predicted milliseconds at full depth."""
        times = [stage.ms for stage in self.stages if stage.ms is not None]
        return sum(times) if len(times) == len(self.stages) else None

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; no time in it was measured on a part."""
        return {
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "arena_bytes": self.arena_bytes,
            "ms": self.ms,
            "predicted_by": self.predicted_by,
            "error": None if self.error is None else dataclasses.asdict(self.error),
            "measured_on_a_part": False,
        }


def measure(stages: Sequence[StageFile], images: NDArray[np.int8], profile: Profile, progress: Progress) -> Measured:
    """The figures of all stages on `images`, int8 [n, H, W, 3], for that part. Raises ConvertError when a stage does not run."""
    runs = run_stages(stages, images)
    progress.step(f"every stage run by TensorFlow Lite Micro and by LiteRT's reference kernels, {len(images)} images")
    compiled: tuple[Compiled, ...] = ()
    if profile.vela:
        compiled = tuple(vela.compile_stage(stage.content, profile.vela) for stage in stages)
        progress.step("every stage compiled by Vela")
    figures = tuple(
        stage_figures(stage.key, stage.content, ran.arena, ran.agreement, compiled[k].figures if compiled else None, profile)
        for k, (stage, ran) in enumerate(zip(stages, runs, strict=True))
    )
    return Measured(figures, runs, compiled, trust(profile), predicted_by(profile))


def stage_figures(
    key: str, content: bytes, arena: Arena, agreement: Agreement | None, estimate: VelaFigures | None, profile: Profile
) -> StageFigures:
    """One stage's figures from what was measured of it."""
    model = read_model(content)
    counted, cost = count(model, model.subgraphs[0]), cost_of(profile)
    ms = estimate.ms_at(profile.clock_mhz) if estimate else None if cost is None else cost.ms(work_of(model))
    return StageFigures(
        key=key,
        bytes=len(content),
        operators=counted.operators,
        macs=counted.macs,
        arena=arena,
        agreement=agreement,
        vela=estimate,
        ms=ms,
    )


def cost_of(profile: Profile) -> CostModel | None:
    """The part's cost model from published times, None where there are none."""
    return fit(profile.published, profile.threads, profile.bandwidth_gb_s, profile.clock_mhz)


def trust(profile: Profile) -> Error | None:
    """How far published times are off when predicted from the others; None where fewer than two were published."""
    return leave_one_out(profile.published, profile.threads, profile.bandwidth_gb_s, profile.clock_mhz)


def predicted_by(profile: Profile) -> str:
    """Where predicted milliseconds come from."""
    if profile.vela:
        return "Vela's estimate"
    return "times that others published" if profile.published else "nothing: no time was published"


def work_of(model: Any) -> Work:
    """What a stage's file makes a processor do: products as MACs, all other operators by the elements of their largest tensor."""
    (graph,) = model.subgraphs
    plain: Counter[str] = Counter()
    for operator in graph.operators:
        name = operator_name(model, operator)
        product = name in PRODUCTS and not squares(model, graph, operator)
        if not product and name not in UNMOVED:
            plain[name] += largest(graph, operator)
    return Work(count(model, graph).macs, bytes_moved(model, graph), 0, {name: float(n) for name, n in plain.items()})
