"""The shares that ranges, gates, thresholds and report have of the images, and the few of a share that a phase looks at.

The images are cut by position: one fifth for the ranges, one fifth for the gates, one fifth for the thresholds, the rest for reporting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.samples import SampleSet, evenly

RANGE_IMAGES = 256  # more change no range by a step worth having, and cost time
ROUNDING_IMAGES = 256  # some thousand tokens: twice as many as the widest layer has inputs


@dataclass(frozen=True, slots=True)
class Shares:
    """The images' four parts; no image is in two of them."""

    ranges: SampleSet
    gates: SampleSet
    thresholds: SampleSet
    report: SampleSet


def share_out(images: SampleSet, known: Sequence[int] | None = None) -> Shares:
    """Cut by position at one, two and three fifths; gates, thresholds and report see only the images at the `known` places."""
    first, second, third = (len(images) * k // 5 for k in (1, 2, 3))
    ends = ((first, second), (second, third), (third, None))
    parts = [images.part(start, stop) for start, stop in ends]
    if known is not None and len(known) < len(images):
        parts = [images.chosen([k for k in known if start <= k < (stop or len(images))]) for start, stop in ends]
    return Shares(images.part(0, max(first, min(1, len(images)))), *parts)


def range_images(images: NDArray[np.int8], seed: int) -> NDArray[np.int8]:
    """At most RANGE_IMAGES of them, chosen by the seed, in their order."""
    if len(images) <= RANGE_IMAGES:
        return images
    chosen = np.sort(np.random.default_rng(seed).choice(len(images), RANGE_IMAGES, replace=False))
    return images[chosen]


def rounding_images(images: NDArray[np.int8]) -> NDArray[np.int8]:
    """At most ROUNDING_IMAGES of them, evenly spread."""
    return evenly(images, ROUNDING_IMAGES)
