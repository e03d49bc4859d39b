"""What the rewrites must know of single channels: means of keys and values, and the values' largest once their mean is taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.collect import ChannelExtremes, ChannelMeans
from calibration.phases import RewriteInputs
from convert.model.tower import Tower
from convert.rewrites import LADDER, migration, rewrite
from convert.rewrites.key_value_centring import mean_roles
from convert.stages.run import batches, walk
from convert.stages.stage import build_stages
from convert.support.progress import Progress


def measure(tower: Tower, exits: tuple[int, ...], images: NDArray[np.int8], progress: Progress) -> RewriteInputs:
    """Means and maxima from the tower before any rewrite but the input's: the others leave them as they are. The seed is left at 0."""
    plain = build_stages(rewrite(tower, RewriteInputs(), LADDER[:1])[0], exits)
    blocks = plain[-1].part.blocks_done
    means, extremes = ChannelMeans(frozenset(mean_roles(blocks))), ChannelExtremes(frozenset(mean_roles(blocks)))
    for batch in batches(images, progress, "means and extremes of channels"):
        walk(plain, batch, lambda role, x: _both(means, extremes, role, x.numpy()))
    found, ends = means.result(), extremes.result()
    maxima = {}
    for role in (migration.value_role(number) for number in range(1, blocks + 1)):
        low, high = ends[role]
        maxima[role] = np.maximum(high - found[role], found[role] - low)
    return RewriteInputs(found, maxima)


def _both(means: ChannelMeans, extremes: ChannelExtremes, role: str, values: NDArray[np.float32]) -> None:
    means(role, values)
    extremes(role, values)
