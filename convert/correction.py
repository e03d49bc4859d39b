"""Bias correction (DFQ, arXiv 1906.04721, section 4.2) of the heads: what the file's embeddings are off by on average is added back.

b <- b + E[e - ê], e the float stages' embedding at an exit or at the end, ê the integer file's, over calibration images. The file itself is
run, so the mean holds every kernel's rounding. Layers inside the tower are left alone: corrected one by one against the float network they
made the embedding worse, because what one is off by depends on all before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.replay import replay
from calibration.samples import pixels
from convert.progress import Progress
from convert.stages import Stage
from convert.walk import walk
from tflite_runtime_app.cascade import Cascade

IMAGES = 128


def head_errors(
    cascade: Cascade, stages: Sequence[Stage], images: NDArray[np.int8], progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Role of each stage's embedding -> E[e - ê] over at most IMAGES of the images."""
    some = images[np.linspace(0, len(images) - 1, min(len(images), IMAGES)).astype(int)]
    found = replay(cascade, progress.over(some, len(some), "integer file, for the bias correction")).embeddings
    exact = _float_embeddings(stages, some)
    return {embedding_role(stage): (exact[:, k] - found[:, k]).mean(0) for k, stage in enumerate(stages)}


def embedding_role(stage: Stage) -> str:
    """The role of the embedding that a stage puts out."""
    return f"stage_{stage.part.index}/{'final' if stage.part.last else 'exit'}/embedding"


def _float_embeddings(stages: Sequence[Stage], images: NDArray[np.int8]) -> NDArray[np.float32]:
    """[n, stages, E]."""
    found = []
    for start in range(0, len(images), 16):
        outputs = walk(stages, torch.from_numpy(pixels(images[start : start + 16])))
        found.append(np.stack([output["embedding"].numpy() for output in outputs], 1))
    return np.concatenate(found)
