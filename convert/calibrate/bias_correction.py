"""Bias correction (DFQ, arXiv 1906.04721, section 4.2) of the heads: what the file's embeddings are off by on average is added back.

b <- b + E[e - ê], e the float stages' embedding at an exit or at the end, ê the integer file's, over calibration images. The file itself is
run, so the mean holds every kernel's rounding. Layers inside the tower are left alone: corrected one by one against the float network they
made the embedding worse, because what one is off by depends on all before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.samples import evenly
from convert.stages.float_replay import float_replay
from convert.stages.stage import Stage, head_role
from convert.support.progress import Progress
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.cascade import Cascade

IMAGES = 128


def head_errors(
    cascade: Cascade, stages: Sequence[Stage], images: NDArray[np.int8], progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Role of each stage's embedding -> E[e - ê] over at most IMAGES of the images."""
    some = evenly(images, IMAGES)
    found = replay(cascade, progress.over(some, len(some), "integer file, for the bias correction")).embeddings
    exact = float_replay(stages, some).embeddings
    return {embedding_role(stage): (exact[:, k] - found[:, k]).mean(0) for k, stage in enumerate(stages)}


def embedding_role(stage: Stage) -> str:
    """The role of the embedding that a stage puts out."""
    if stage.part.blocks_done in stage.tower.exit_heads and not stage.part.last:
        return f"{head_role(stage.part.blocks_done)}/embedding"
    return f"stage_{stage.part.index}/{'final' if stage.part.last else 'exit'}/embedding"
