"""What the rewrites must know of single channels: means of keys and values, and the largest value of each channel once centred."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.collect import ChannelExtremes, ChannelMeans
from convert.calibrate import images as fit
from convert.model.tower import Tower
from convert.rewrites import LADDER, migration, rewrite
from convert.rewrites.key_value_centring import mean_roles
from convert.stages.stage import build_stages
from convert.support.progress import Progress


def measure(tower: Tower, exits: tuple[int, ...], images: NDArray[np.int8], progress: Progress) -> dict[str, NDArray[np.float32]]:
    """Role -> a number per channel, from the tower before any rewrite but the input's: the others leave them as they are."""
    plain = build_stages(rewrite(tower, {}, LADDER[:1])[0], exits)
    blocks = plain[-1].part.blocks_done
    means, extremes = ChannelMeans(frozenset(mean_roles(blocks))), ChannelExtremes(frozenset(mean_roles(blocks)))

    def both(role: str, values: NDArray[np.float32]) -> None:
        means(role, values)
        extremes(role, values)

    for batch in fit.batches(images, progress, "means and extremes of channels"):
        fit.run_stages(plain, batch, both)
    found = means.result()
    for number in range(1, blocks + 1):
        role = f"block_{number:02d}/value"
        low, high = extremes.result()[role]
        found[migration.largest_role(number)] = np.maximum(high - found[role], found[role] - low)
    return found
