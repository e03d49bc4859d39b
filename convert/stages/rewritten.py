"""The tower after the ladder's rewrites, cut into its stages."""

from __future__ import annotations

from calibration.phases import RewriteInputs
from convert.model.load import ClipModel
from convert.rewrites import Entry, Rewrite, rewrite
from convert.stages.stage import Stage, build_stages


def rewritten_stages(
    model: ClipModel, ladder: tuple[Rewrite, ...], exits: tuple[int, ...], inputs: RewriteInputs
) -> tuple[tuple[Stage, ...], tuple[Entry, ...]]:
    """The stages of the tower after the ladder, and the log of its steps."""
    tower, log = rewrite(model.tower(), inputs, ladder)
    return build_stages(tower, exits), log
