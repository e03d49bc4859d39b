"""What the float stages do with many images at every exit: the counterpart of the integer file's replay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convert.stages.run import batches, walk
from convert.stages.stage import Stage
from convert.support.progress import Progress
from tflite_runtime_app.exits.replay import Replay


def float_replay(stages: Sequence[Stage], images: NDArray[np.int8], progress: Progress | None = None) -> Replay:
    """Embeddings [n, stages, E] and variances [n, exits] of int8 image tensors [n, H, W, 3]; times are not taken."""
    exits, size = len(stages) - 1, stages[0].tower.embedding_size
    embeddings, variances = [np.zeros((0, len(stages), size), np.float32)], [np.zeros((0, exits), np.float32)]
    for batch in batches(images, progress, "float stages"):
        outputs = walk(stages, batch)
        embeddings.append(np.stack([output["embedding"].numpy() for output in outputs], 1))
        spread = [output["variance"].numpy().reshape(-1) for output in outputs[:-1]]
        variances.append(np.stack(spread, 1) if spread else np.zeros((len(embeddings[-1]), 0), np.float32))
    found = np.concatenate(embeddings)
    return Replay(found, np.concatenate(variances), np.zeros(found.shape[:2], np.float32))
