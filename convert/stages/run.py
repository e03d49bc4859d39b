"""One pass of a batch through the float stages, one after another as the board runs them, with whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convert.stages.stage import Stage, Tap


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
