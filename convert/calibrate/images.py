"""The shares that ranges, gates, thresholds and report have of the images, and the few of a share that a phase looks at.

One fifth for the ranges, one fifth for the gates, one fifth for the thresholds, the rest for reporting. Images are drawn by the seed, class
by class, so that each share has its part of every folder: what holds on one share is to hold on the next, which the bound on the exits'
risk takes for granted. Which share an image goes to does not depend on where it lies in the folder or archive. Equal images count once.
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


def share_out(images: SampleSet, seed: int, known: Sequence[int] | None = None, in_order: bool = False) -> Shares:
    """The shares of the distinct images, each in random order; gates, thresholds and report see only those at the `known` places.

    `in_order` cuts the images as they come at one, two and three fifths instead, for whoever has shuffled them and wants to know the ends.
    """
    places = images.distinct()
    fifths = _cut(places) if in_order else _drawn(images, places, seed)
    named = None if known is None or len(known) == len(images) else set(known)
    parts = [part if named is None else [k for k in part if k in named] for part in fifths[1:]]
    return Shares(*(images.chosen(part) for part in (fifths[0], *parts)))


def _cut(places: list[int]) -> list[list[int]]:
    first, second, third = (len(places) * k // 5 for k in (1, 2, 3))
    return [places[: max(first, min(1, len(places)))], places[first:second], places[second:third], places[third:]]


def _drawn(images: SampleSet, places: list[int], seed: int) -> list[list[int]]:
    """Classes in random order, the images of each in random order, dealt out by turns to five; the last two are one share."""
    random = np.random.default_rng(seed)
    if images.tensors:
        places = sorted(places, key=lambda k: images.tensors[k])
    shuffled = [places[k] for k in random.permutation(len(places))]
    classes = sorted({images.folders[k] for k in shuffled})
    turn = dict(zip(classes, random.permutation(len(classes)).tolist(), strict=True))
    dealt = sorted(shuffled, key=lambda k: turn[images.folders[k]])
    hand = {place: number % 5 for number, place in enumerate(dealt)}
    return [[k for k in shuffled if hand[k] in hands] for hands in ((0,), (1,), (2,), (3, 4))]


def range_images(images: NDArray[np.int8], seed: int) -> NDArray[np.int8]:
    """At most RANGE_IMAGES of them, chosen by the seed, in their order."""
    if len(images) <= RANGE_IMAGES:
        return images
    chosen = np.sort(np.random.default_rng(seed).choice(len(images), RANGE_IMAGES, replace=False))
    return images[chosen]


def rounding_images(images: NDArray[np.int8]) -> NDArray[np.int8]:
    """At most ROUNDING_IMAGES of them, evenly spread."""
    return evenly(images, ROUNDING_IMAGES)
