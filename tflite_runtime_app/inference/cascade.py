"""The image tower in stages: signatures run until the policy stops, and nothing after that is computed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import GateSpec, Manifest, StageSpec
from tflite_runtime_app.inference.affine import dequantize, quantize
from tflite_runtime_app.inference.direct import Codes
from tflite_runtime_app.inference.engine import Engine, LiteRtEngine
from tflite_runtime_app.inference.features import Scores, gate_features, score
from tflite_runtime_app.inference.signatures import check_signatures
from tflite_runtime_app.policies import Policy, policy_from_manifest


@dataclass(frozen=True, slots=True, eq=False)
class StageOutput:
    """What one stage put out: `raw`, its int8 outputs by name, and `ms`, the time of its signature alone.

    Real values are computed when they are asked for; what is handed over the host never looks at.
    """

    spec: StageSpec
    raw: Codes
    ms: float

    @property
    def embedding(self) -> npt.NDArray[np.float32]:
        """Float32 [E] as it is, not normalised."""
        return self._real("embedding")

    @property
    def variance(self) -> float | None:
        """None where the stage has none."""
        return float(self._real("variance")[0]) if "variance" in self.raw else None

    def _real(self, name: str) -> npt.NDArray[np.float32]:
        return dequantize(self.raw[name].reshape(-1), next(tensor for tensor in self.spec.outputs if tensor.name == name))


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One exit that was asked: its features float32 [3], the gate's int8 score (None when no gate was run), its best label."""

    stage: int
    features: npt.NDArray[np.float32]
    score: int | None
    top1: int
    stopped: bool


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Where an image left and what it took with it: `vector` float32 [E], not normalised, and its `scores`.

    `macs` counts every stage and head that was run; `stages_ms` has one entry per stage that was run, `visits` one per exit
    that the policy was asked about.
    """

    vector: npt.NDArray[np.float32]
    stage: int
    blocks_done: int
    macs: int
    stages_ms: tuple[float, ...]
    scores: Scores
    visits: tuple[Visit, ...]


class Cascade:
    """Stages, gates and a policy on one engine."""

    def __init__(self, engine: Engine, manifest: Manifest, policy: Policy) -> None:
        self.engine = engine
        self.manifest = manifest
        self.policy = policy

    def run(self, image: npt.NDArray[np.int8], bank: LabelBank) -> Embedding:
        """The embedding of `image` (int8 [1, H, W, 3]) at the first exit where the policy stops, or at the last stage."""
        times: list[float] = []
        visits: list[Visit] = []
        for stage, output in enumerate(self.stage_outputs(image)):
            times.append(output.ms)
            vector = output.embedding
            scores = score(vector, bank, self.manifest.logit_scale)
            if stage == len(self.manifest.stages) - 1:
                break
            visits.append(self._visit(stage, output, scores, tuple(visit.top1 for visit in visits)))
            if visits[-1].stopped:
                break
        return Embedding(
            vector=vector,
            stage=stage,
            blocks_done=self.manifest.stages[stage].blocks_done,
            macs=self.manifest.macs_until(stage),
            stages_ms=tuple(times),
            scores=scores,
            visits=tuple(visits),
        )

    def stage_outputs(self, image: npt.NDArray[np.int8]) -> Iterator[StageOutput]:
        """The outputs of the stages in turn, each computed only when it is asked for; gates are not run.

        What a stage hands over (`hidden`, `hidden_lo`) reaches the next one as the very bytes that came out.
        """
        available: Codes = {self.manifest.stages[0].inputs[0].name: image}
        for spec in self.manifest.stages:
            inputs = {tensor.name: available[tensor.name] for tensor in spec.inputs}
            start = time.perf_counter()
            available = self.engine.invoke(spec.signature, inputs)
            yield StageOutput(spec, available, (time.perf_counter() - start) * 1e3)

    def gate_score(self, gate: GateSpec, features: npt.NDArray[np.float32]) -> int:
        """The int8 score that `gate` gives to `features` (float [3], not yet standardised)."""
        codes = gate_codes(gate, features)
        return int(self.engine.invoke(gate.signature, {gate.features.name: codes})[gate.score.name].reshape(()))

    def _visit(self, stage: int, output: StageOutput, scores: Scores, history: tuple[int, ...]) -> Visit:
        # Without gates a stage may lack a variance; NaN keeps the three features in their places.
        features = gate_features(scores.probability, float("nan") if output.variance is None else output.variance)
        gate_score = self.gate_score(self.manifest.gates[stage], features) if self.policy.needs_score else None
        stopped = self.policy.decide(stage, features, gate_score, scores.top1, history)
        return Visit(stage, features, gate_score, scores.top1, stopped)


def load_cascade(bundle: Bundle, threads: int = 1, op_resolver: str = "xnnpack", policy: Policy | None = None) -> Cascade:
    """The bundle's cascade, its signatures checked against its manifest, with its own policy unless one is given."""
    policy = policy_from_manifest(bundle.manifest) if policy is None else policy
    engine = LiteRtEngine(bundle.flatbuffer, threads, op_resolver)
    check_signatures(engine.signatures, bundle.manifest)
    return Cascade(engine, bundle.manifest, policy)


def gate_codes(gate: GateSpec, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """`features` standardised by the gate's mean and deviation and quantized, in the shape that the gate takes."""
    standard = (features.astype(np.float64) - np.array(gate.mean)) / np.array(gate.deviation)
    return quantize(standard.reshape(gate.features.shape), gate.features)
