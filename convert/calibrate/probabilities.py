"""Whether attention's probabilities come in two terms: where SOFTMAX's one grid is a good part of the network's noise.

Two terms cost one product of attention more and save SOFTMAX, LiteRT's slowest operator: at 197 tokens that is even, at 37 it takes 2 %
longer (one thread, AVX-512 VNNI). So they are taken where the simulated network's noise falls by more than WORTH, and not by chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.phases import RangeCalibration
from calibration.probabilities import with_two_terms
from calibration.samples import evenly
from calibration.search import surely_less
from convert.calibrate.observers import FEWEST, noise_of, search_images
from convert.stages.stage import Stage
from convert.support.progress import Progress

WORTH = 0.1  # of the noise


def where_it_pays(
    stages: Sequence[Stage], ranges: RangeCalibration, images: NDArray[np.int8], stream: str, progress: Progress
) -> RangeCalibration:
    """The ranges with grids for two terms where the measured noise says so, else as they were; a handful of images say nothing."""
    if len(images) < FEWEST:
        return ranges
    grids = with_two_terms(ranges.grids, stages[0].tower.tokens)
    noise = noise_of(stages, evenly(images, search_images(stages)), stream)
    one, two = noise(ranges.grids), noise(grids)
    pays = two.mean() < (1 - WORTH) * one.mean() and surely_less(one - two)
    progress.step(f"attention: noise {one.mean() * 1e3:.2f} with SOFTMAX, {two.mean() * 1e3:.2f} with probabilities in two terms")
    return dataclasses.replace(ranges, grids=grids) if pays else ranges
