"""What the finished file does with many images, at every stage: the raw material of gates, thresholds and every measured figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tflite_runtime_app.bundle.calibration_outputs import Remembered, output_specs
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.errors import InferenceError
from tflite_runtime_app.exits.observed import Observed
from tflite_runtime_app.inference.affine import dequantize, quantize
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.features import gate_features, score

REMEMBERED = 384  # images


@dataclass(frozen=True, slots=True)
class Replay:
    """n images at full depth: embeddings [n, stages, E], variances [n, exits], milliseconds [n, stages]."""

    embeddings: NDArray[np.float32]
    variances: NDArray[np.float32]
    ms: NDArray[np.float32]

    def part(self, start: int, stop: int | None) -> Replay:
        """Images start .. stop - 1."""
        where = slice(start, stop)
        return Replay(self.embeddings[where], self.variances[where], self.ms[where])

    def chosen(self, places: Sequence[int]) -> Replay:
        """The images at these places."""
        where = np.array(places, np.int64)
        return Replay(self.embeddings[where], self.variances[where], self.ms[where])


@dataclass(frozen=True, slots=True)
class Answers:
    """What a label matrix makes of a replay: best label [n, stages] and its cosine, gate features [n, exits, 3]."""

    top1: NDArray[np.int64]
    cosine: NDArray[np.float32]
    features: NDArray[np.float32]


def replay(
    cascade: Cascade, images: Iterable[NDArray[np.int8]], failed: Callable[[InferenceError], None] | None = None
) -> Replay:
    """Every stage's output for every image [H, W, 3], by the board's own cascade.

    An image that the model fails on is left out and told to `failed`; without it InferenceError is raised.
    """
    embeddings, variances, ms = [], [], []
    for image in images:
        try:
            outputs = list(cascade.stage_outputs(image[None]))
        except InferenceError as error:
            if failed is None:
                raise
            failed(error)
            continue
        embeddings.append(np.stack([output.embedding for output in outputs]))
        variances.append([output.variance for output in outputs if output.variance is not None])
        ms.append([output.ms for output in outputs])
    if not embeddings:
        stages, exits = len(cascade.manifest.stages), len(output_specs(cascade.manifest, "variance"))
        empty = np.zeros((0, stages, cascade.manifest.embedding_size), np.float32)
        return Replay(empty, np.zeros((0, exits), np.float32), np.zeros((0, stages), np.float32))
    return Replay(np.stack(embeddings), np.array(variances, np.float32), np.array(ms, np.float32))


def answers(found: Replay, bank: LabelBank, logit_scale: float) -> Answers:
    """Best labels and gate features, by the board's own scoring."""
    images, stages, _ = found.embeddings.shape
    top1 = np.zeros((images, stages), np.int64)
    cosine = np.zeros((images, stages), np.float32)
    features = np.zeros((images, stages - 1, 3), np.float32)
    for i in range(images):
        for k in range(stages):
            scores = score(found.embeddings[i, k], bank, logit_scale)
            top1[i, k], cosine[i, k] = scores.top1, scores.cosine[scores.top1]
            if k < stages - 1:
                features[i, k] = gate_features(scores.probability, float(found.variances[i, k]))
    return Answers(top1, cosine, features)


def gate_scores(cascade: Cascade, manifest: Manifest, features: NDArray[np.float32]) -> NDArray[np.int64]:
    """The integer gates' scores [n, exits] for features [n, exits, 3]."""
    scores = [[cascade.gate_score(gate, row[k]) for k, gate in enumerate(manifest.gates)] for row in features]
    return np.array(scores, np.int64).reshape(len(features), len(manifest.gates))


def observe(
    found: Answers, cascade: Cascade, manifest: Manifest, labels: int, wanted: NDArray[np.int64] | None = None
) -> Observed:
    """Answers as policies see them, scored by the integer gates; `labels` is how many there are, `wanted` [n] the right ones."""
    macs = tuple(manifest.macs_until(k) for k in range(len(manifest.stages)))
    scores = gate_scores(cascade, manifest, found.features)
    return Observed(found.features, scores, found.top1, wanted, macs, manifest.total_macs, labels)


def remember(found: Replay, manifest: Manifest, images: int = REMEMBERED) -> Remembered:
    """At most that many images of a replay, evenly spread, as the codes that the stages put out."""
    chosen = np.linspace(0, len(found.ms) - 1, min(len(found.ms), images)).astype(int) if len(found.ms) else np.zeros(0, int)
    embeddings = [quantize(found.embeddings[chosen, k], spec) for k, spec in enumerate(output_specs(manifest, "embedding"))]
    variances = [quantize(found.variances[chosen, k], spec) for k, spec in enumerate(output_specs(manifest, "variance"))]
    shape = (len(chosen), len(variances))
    return Remembered(np.stack(embeddings, 1), np.stack(variances, 1) if variances else np.zeros(shape, np.int8))


def replayed(memory: Remembered, manifest: Manifest) -> Replay:
    """The outputs in real values, as the stages gave them; no time was taken."""
    embeddings = [dequantize(memory.embeddings[:, k], spec) for k, spec in enumerate(output_specs(manifest, "embedding"))]
    variances = [dequantize(memory.variances[:, k], spec) for k, spec in enumerate(output_specs(manifest, "variance"))]
    shape = (len(memory), len(variances))
    return Replay(
        np.stack(embeddings, 1), np.stack(variances, 1) if variances else np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    )
