"""What was counted as two tables of Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from tools.arm64.table import markdown
from tools.instructions.counts import Cost

KEPT = ("dynamic", "float")  # beside the bundle
FILES = ("INT8, this file", "floor", *KEPT)
Costs = Mapping[str, Mapping[str, Cost]]  # by processor, by file


def of_counts(costs: Costs) -> str:
    """Millions of instructions an image, this file's over its floor's, and the others' over this file's."""
    rows = []
    for processor, found in costs.items():
        ours, floor, *others = (found[file].millions for file in FILES)
        ratios = [ours / floor, *(other / ours for other in others)]
        rows.append((processor, *(f"{found[file].millions:.1f}" for file in FILES), *(f"{ratio:.2f}" for ratio in ratios)))
    return markdown(("processor", *FILES, "INT8 / floor", "dynamic / INT8", "float / INT8"), rows)


def of_kernels(costs: Costs) -> str:
    """The function that most of a file's instructions are in."""
    rows = [
        (processor, file, f"`{cost.kernel}`", f"{cost.share:.0%}")
        for processor, found in costs.items()
        for file, cost in found.items()
    ]
    return markdown(("processor", "file", "most instructions are in", "share"), rows)
