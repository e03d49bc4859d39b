"""The observer of each kind of tensor: the one named, or the choice of a search that hears the simulated network's embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.samples import evenly
from calibration.search import SEARCH, START, Noise, everywhere, search
from calibration.statistics import Statistics
from calibration.two_term import STREAM
from convert.stages import simulate
from convert.stages.run import batches
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Progress

BATCH = 16  # images at a time, all of them held at once
SEARCH_MACS = 40e9  # multiply-accumulates of one pass over all images of a search, at most
FEWEST, MOST = 8, 24  # images of a search


def observers_by_kind(
    observer: str,
    stages: Sequence[Stage],
    seen: Mapping[str, Statistics],
    images: NDArray[np.int8],
    stream: str,
    progress: Progress,
) -> dict[str, str]:
    """Kind -> observer. A search looks at some images: every other one chooses, the rest confirm; from a handful it learns nothing."""
    if observer != SEARCH:
        return everywhere(seen, observer)
    if len(images) < FEWEST:
        return everywhere(seen, START)
    some = evenly(images, search_images(stages))
    first, other = (noise_of(stages, some[half::2], stream) for half in (0, 1))
    found = search(seen, first, other, lambda items, what: progress.over(items, len(items), what))
    changed = [f"{name} {theirs}" for name, theirs in found.items() if theirs != START]
    progress.step(
        f"observers found on {len(some)} images: {', '.join([*changed, f'{START} for the rest' if changed else START])}"
    )
    return found


def search_images(stages: Sequence[Stage], most: int = MOST) -> int:
    """As many as `SEARCH_MACS` allow, an even number between `FEWEST` and `most`."""
    return int(np.clip(SEARCH_MACS // sum(stage.macs() for stage in stages), FEWEST, most)) // 2 * 2


def noise_of(stages: Sequence[Stage], images: NDArray[np.int8], stream: str) -> Noise:
    """1 - cosine between the final embedding of the float stages and of the same with weights and the grids' roles rounded, per image."""
    taken = list(batches(images, size=BATCH))
    exits = tuple(stage.part.blocks_done for stage in stages[:-1])
    rounded = build_stages(simulate.quantized_weights(stages[0].tower), exits)
    exact = simulate.run(stages, taken, None).double()

    def noise(grids: Mapping[str, Grid]) -> NDArray[np.float64]:
        found = simulate.run(rounded, taken, simulate.quantizing_tap(simulated(grids, stream))).double()
        distance: NDArray[np.float64] = (1 - torch.nn.functional.cosine_similarity(found, exact)).numpy()
        return distance

    return noise


def simulated(grids: Mapping[str, Grid], stream: str) -> dict[str, Grid]:
    """The grids that count in the simulation: none for a stream in two terms and patches that enter it as they are, both near exact."""
    if stream != "two_term":
        return dict(grids)
    near = {"embed/patch"} if "embed/norm_pre/normed" not in grids else set()
    return {role: grid for role, grid in grids.items() if role not in near and not STREAM.fullmatch(role)}
