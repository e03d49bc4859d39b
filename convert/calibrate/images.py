"""Calibration from images: the shares that ranges, gates, thresholds and report have of them, and what the float stages show of each.

The images are cut by position: one fifth for the ranges, one fifth for the gates, one fifth for the thresholds, the rest for reporting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.collect import Tap, collect
from calibration.ranges import Grid, decide, largest
from calibration.samples import SampleSet, pixels
from calibration.statistics import Statistics
from convert.calibrate.observers import observers_by_kind
from convert.stages.run import walk
from convert.stages.stage import Stage
from convert.support.progress import Progress

BATCH = 32
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
    some: NDArray[np.int8] = images[np.linspace(0, len(images) - 1, min(len(images), ROUNDING_IMAGES)).astype(int)]
    return some


def statistics(
    stages: Sequence[Stage], images: NDArray[np.int8], roles: frozenset[str] | None, progress: Progress
) -> dict[str, Statistics]:
    """What the float stages' results look like over the images; without `roles` of all of them."""

    def run(batch: NDArray[np.float32], tap: Tap) -> None:
        run_stages(stages, batch, tap)

    return collect(run, batches(images, progress, "ranges"), roles)


@dataclass(frozen=True, slots=True)
class Ranges:
    """The grid of every role, the largest value seen of it, and the observer that the grids of each kind are by."""

    grids: dict[str, Grid]
    largest: dict[str, float]
    observers: dict[str, str]


def ranges(
    stages: Sequence[Stage],
    images: NDArray[np.int8],
    roles: frozenset[str] | None,
    observer: str,
    stream: str,
    progress: Progress,
) -> Ranges:
    """The roles' grids by that observer, or by those that a search finds, for a network with a residual stream of that kind."""
    seen = statistics(stages, images, roles, progress)
    observers = observers_by_kind(observer, stages, seen, images, stream, progress)
    return Ranges(decide(seen, observers), largest(seen), observers)


def run_stages(stages: Sequence[Stage], batch: NDArray[np.float32], tap: Tap) -> None:
    """One pass of a batch [n, H, W, 3] through the float stages, every result shown to `tap`."""
    walk(stages, torch.from_numpy(batch), lambda role, x: tap(role, x.numpy()))


def batches(images: NDArray[np.int8], progress: Progress, what: str) -> Iterator[NDArray[np.float32]]:
    """The images in real values, a batch at a time, while a bar shows how many are done."""
    starts = range(0, len(images), BATCH)
    for start in progress.over(starts, len(starts), f"{what}, batches of {BATCH}"):
        yield pixels(images[start : start + BATCH])
