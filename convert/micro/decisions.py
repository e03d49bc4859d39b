"""Whether C's integers decide as the board's program does: the same exit and the same label, on what the stages gave for some images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.micro.agreement import StageRun
from convert.micro.arithmetic import Answer, classify
from convert.micro.constants import Numbers
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.direct import Codes
from tflite_runtime_app.inference.engine import Engine, LiteRtEngine
from tflite_runtime_app.policies import policy_from_manifest


@dataclass(frozen=True, slots=True)
class Decisions:
    """How many images were decided, and on how many of them C takes another exit or names another label than `classify`."""

    pictures: int
    other_exit: int
    other_label: int


class _Recorded:
    """An engine whose stages give what was recorded of one image; gates are run."""

    def __init__(self, engine: Engine, outputs: Mapping[str, Codes]) -> None:
        self.engine, self.outputs = engine, outputs

    def invoke(self, signature: str, inputs: Mapping[str, NDArray[np.int8]]) -> Codes:
        return self.outputs[signature] if signature in self.outputs else self.engine.invoke(signature, inputs)


def compare(flatbuffer: bytes, manifest: Manifest, bank: LabelBank, numbers: Numbers, runs: Sequence[StageRun]) -> Decisions:
    """Both decide on the very outputs that the stages gave."""
    engine, policy = LiteRtEngine(flatbuffer), policy_from_manifest(manifest)
    image = np.zeros((1, manifest.preprocessing.height, manifest.preprocessing.width, 3), np.int8)
    exits = labels = 0
    images = list(_each(manifest, runs))
    for outputs in images:
        theirs = Cascade(_Recorded(engine, outputs), manifest, policy).run(image, bank)
        ours = answer(outputs, manifest, numbers)
        exits += ours.stage != theirs.stage
        labels += ours.stage == theirs.stage and ours.top[0] != theirs.scores.top1
    return Decisions(len(images), exits, labels)


def answer(outputs: Mapping[str, Codes], manifest: Manifest, numbers: Numbers, top: int = 1) -> Answer:
    """What C answers when the stages give these outputs, by signature and name."""
    found = [outputs[stage.signature] for stage in manifest.stages]
    variances = [int(one["variance"].reshape(-1)[0]) if "variance" in one else 0 for one in found]
    return classify([one["embedding"].reshape(-1) for one in found], variances, numbers, top)


def _each(manifest: Manifest, runs: Sequence[StageRun]) -> Iterator[dict[str, Codes]]:
    for image in range(runs[0].agreement.pictures):
        yield {
            stage.signature: {name: values[image] for name, values in run.outputs.items()}
            for stage, run in zip(manifest.stages, runs, strict=True)
        }
