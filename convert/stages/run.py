"""Images through the float stages: cut into batches, and one batch through all stages, with whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.samples import pixels
from convert.stages.stage import Stage, Tap
from convert.support.progress import Progress, Silent

BATCH = 32


def batches(images: NDArray[np.int8], progress: Progress | None = None, what: str = "", size: int = BATCH) -> Iterator[Tensor]:
    """The images [n, H, W, 3] in real values 0..1, `size` at a time, while a bar shows how many batches are done."""
    starts = range(0, len(images), size)
    for start in (progress or Silent()).over(starts, len(starts), f"{what}, batches of {size}"):
        yield torch.from_numpy(pixels(images[start : start + size]))


def walk(
    stages: Sequence[Stage],
    batch: Tensor,
    tap: Tap | None = None,
    reader: Callable[[str, Tensor], None] | None = None,
) -> list[dict[str, Tensor]]:
    """Every stage's outputs by name, of a batch [n, H, W, 3] in 0..1, without gradients.

    `tap(role, result)` sees every result and may put another in its place, `reader(role, rows)` what every linear layer reads. Both are
    gone afterwards, also when they raise.
    """
    value, found = batch, []
    with torch.no_grad():
        for stage in stages:
            stage.tap, stage.reader = tap, reader
            try:
                outputs = dict(zip(stage.output_names, stage(value), strict=True))
            finally:
                stage.tap = stage.reader = None
            found.append(outputs)
            value = outputs.get("hidden", value)
    return found
