"""What one image costs the float network on this machine: open_clip's own tower, one image at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.samples import pixels
from convert.emit.manifest import THREADS
from convert.model.load import ClipModel

RUNS = 20


def float_milliseconds(model: ClipModel, images: Sequence[NDArray[np.int8]]) -> float:
    """The median of `RUNS` runs over the images [H, W, 3] in turn, on as many threads as the integer file has; torch gets its own back."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    batches = [torch.from_numpy(pixels(image[None])) for image in images]
    found = []
    try:
        model.encode(batches[0])  # the first run sets up what later ones use
        for number in range(RUNS):
            start = time.perf_counter()
            model.encode(batches[number % len(batches)])
            found.append((time.perf_counter() - start) * 1e3)
    finally:
        torch.set_num_threads(before)
    return float(np.median(found))
