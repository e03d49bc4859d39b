"""What the host does to decide at every exit: label scores, features, gates. Its time is what an exit costs besides its head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convert.bench.timing import Run
from tflite_runtime_app.bundle.labels import LabelBank, unit
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.features import gate_features, score

LABELS = 1000


def decisions_run(cascade: Cascade, image: NDArray[np.int8]) -> Run:
    """All decisions about one image that leaves nowhere, with a thousand labels; nothing for a file without gates."""
    manifest = cascade.manifest
    vectors = np.random.default_rng(0).standard_normal((LABELS, manifest.embedding_size)).astype(np.float32)
    vectors = unit(vectors)
    bank = LabelBank(vectors, tuple(str(k) for k in range(LABELS)), ("{}",), manifest.space_id)
    outputs = list(cascade.stage_outputs(image))
    seen = [(gate, output.embedding, output.variance or 0.0) for gate, output in zip(manifest.gates, outputs, strict=False)]

    def run() -> tuple[float, ...]:
        for gate, embedding, variance in seen:
            scores = score(embedding, bank, manifest.logit_scale)
            cascade.gate_score(gate, gate_features(scores.probability, variance))
        return ()

    return run
