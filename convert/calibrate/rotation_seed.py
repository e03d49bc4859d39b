"""Which random rotation: the one of a few seeds under which the simulated integer network is quietest.

All rotations are exact in float, and none is better on average; they differ by what happens to lie where. The first half of the images
gives the ranges, the second the noise, 1 - cosine of the final embedding.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from calibration.phases import RewriteInputs
from calibration.ranges import decide
from calibration.samples import evenly
from calibration.search import START, everywhere
from convert.calibrate.observers import FEWEST, noise_of, search_images
from convert.calibrate.ranges import statistics
from convert.model.load import ClipModel
from convert.rewrites import Rewrite
from convert.stages.rewritten import rewritten_stages
from convert.support.progress import Progress, Silent

SEEDS = (0, 1, 2)
MOST = 64  # images: seeds differ by a fifth in noise, and single images by more
TELLING = 16  # images; where a heavy tower allows fewer, they tell two seeds apart and no more


def quietest(
    model: ClipModel,
    ladder: tuple[Rewrite, ...],
    exits: tuple[int, ...],
    inputs: RewriteInputs,
    images: NDArray[np.int8],
    stream: str,
    progress: Progress,
) -> RewriteInputs:
    """The inputs with the seed of least noise; as they were without a rotation, or with a handful of images."""
    if len(images) < FEWEST or not any(step.name == "rotation" for step in ladder):
        return inputs
    allowed = search_images(rewritten_stages(model, ladder[:1], exits, RewriteInputs())[0], MOST)  # raw pixels, counted the same
    some = evenly(images, allowed)
    seeds = SEEDS if len(some) >= TELLING else SEEDS[:2]
    noise: dict[int, float] = {}
    for seed in progress.over(seeds, len(seeds), "seeds of the rotation"):
        stages = rewritten_stages(model, ladder, exits, dataclasses.replace(inputs, rotation_seed=seed))[0]
        seen = statistics(stages, some[0::2], None, Silent())
        noise[seed] = float(noise_of(stages, some[1::2], stream)(decide(seen, everywhere(seen, START))).mean())
    best = min(noise, key=lambda seed: noise[seed])
    progress.step(f"rotation by seed {best}: " + ", ".join(f"{seed}: {found * 1e3:.2f}" for seed, found in noise.items()))
    return dataclasses.replace(inputs, rotation_seed=best)
