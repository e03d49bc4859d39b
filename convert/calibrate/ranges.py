"""What the float stages' results look like over images, and the grids that follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.collect import Tap, collect
from calibration.phases import RangeCalibration
from calibration.ranges import decide, largest
from calibration.statistics import Statistics
from calibration.two_term import norms_of_both
from convert.calibrate.observers import observers_by_kind
from convert.stages.run import batches, walk
from convert.stages.stage import Stage
from convert.support.progress import Progress


def statistics(
    stages: Sequence[Stage], images: NDArray[np.int8], roles: frozenset[str] | None, progress: Progress
) -> dict[str, Statistics]:
    """The statistics of the float stages' results over the images [n, H, W, 3]; without `roles` of all of them."""

    def run(batch: NDArray[np.float32], tap: Tap) -> None:
        walk(stages, torch.from_numpy(batch), lambda role, x: tap(role, x.numpy()))

    return collect(run, (batch.numpy() for batch in batches(images, progress, "ranges")), roles)


def range_calibration(
    stages: Sequence[Stage],
    images: NDArray[np.int8],
    roles: frozenset[str] | None,
    observer: str,
    stream: str,
    progress: Progress,
) -> RangeCalibration:
    """The roles' grids by that observer, or by those that a search finds, for a network with a residual stream of that kind."""
    seen = statistics(stages, images, roles, progress)
    observers = observers_by_kind(observer, stages, seen, images, stream, progress)
    grids = decide(seen, observers)
    both = norms_of_both(seen, grids) if stream == "two_term" else {}
    return RangeCalibration({**grids, **both}, largest(seen), observers)
