"""What each stage makes of one image: the cascade as `classify explain` shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import GateSpec
from tflite_runtime_app.inference.answer import Match, like_of, matches
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.features import gate_features, score


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: its best labels, features and gate score where it has an exit, whether the image leaves here or already had (`after`)."""

    block: int
    top: tuple[Match, ...]
    cosine_none: bool
    like: str
    features: tuple[float, float, float] | None
    score: int | None
    threshold: int | None
    chance: float | None
    stopped: bool
    after: bool
    ms: float
    macs: int


def stages_of(
    cascade: Cascade, bank: LabelBank, tensor: npt.NDArray[np.int8], top: int, background: LabelBank | None = None
) -> list[StageView]:
    """Every stage's view of the image tensor [1, H, W, 3], those after the stop too."""
    manifest = cascade.manifest
    found: list[StageView] = []
    history: list[int] = []
    stopped = False
    for number, output in enumerate(cascade.stage_outputs(tensor)):
        scores = score(output.embedding, bank, manifest.logit_scale)
        best = matches(scores, bank, top)
        like = like_of(output.embedding, best[0], manifest, background)
        last = number == len(manifest.stages) - 1
        features = None if last or output.variance is None else gate_features(scores.probability, output.variance)
        gate = manifest.gates[number] if not last and number < len(manifest.gates) else None
        gate_score = None if gate is None or features is None else cascade.gate_score(gate, features)
        here = not stopped and (
            last
            or cascade.policy.decide(
                number,
                gate_features(scores.probability, float("nan")) if features is None else features,
                gate_score if cascade.policy.needs_score else None,
                scores.top1,
                tuple(history),
            )
        )
        found.append(
            StageView(
                block=manifest.stages[number].blocks_done,
                top=best,
                cosine_none=best[0].cosine < manifest.none_threshold,
                like=like,
                features=None if features is None else (float(features[0]), float(features[1]), float(features[2])),
                score=gate_score,
                threshold=None if gate is None else gate.threshold,
                chance=None if gate is None or gate_score is None else chance_of(gate_score, gate),
                stopped=here,
                after=stopped,
                ms=output.ms,
                macs=manifest.macs_until(number),
            )
        )
        stopped = stopped or here
        history.append(scores.top1)
    return found


def chance_of(gate_score: int, gate: GateSpec) -> float:
    """The chance, by a gate's int8 score, that stopping is as good as going on: its log odds through the logistic function."""
    log_odds = (gate_score - gate.score.zero_point) * gate.score.scale
    return float(1 / (1 + np.exp(-log_odds)))
