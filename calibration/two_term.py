"""Grids of a residual stream of two int8 terms, hi + lo (`convert/passes/two_term_stream.py` says how they are added).

hi: symmetric, covering all that was seen, its step that of the first sum times a power of two: then the grids of successive sums nest, and
the difference of two of them is exact. Nothing of it may be clipped, lo could not hold that.
step (t = hi' - hi, about as large as the branch): the finer of the two grids, coarser by powers of two where the branch would not fit, but
never coarser than hi': there t would not be exact, and XNNPACK takes no sum whose scales are more than 256 apart.
patch: what the first sum adds, where that is the patches as they come: their layer is computed on two grids that nest, see below.
lo: it collects the rounding errors of all sums so far, each uniform in ± half a step of hi, so its deviation after k sums is
sqrt(sum of step_j^2 / 12); its grid spans `LO_DEVIATIONS` of them, and at least half a step. rest is one sum's share: ± half a step.
whole (z = hi + lo): the grid that the observer chose for the stream. A norm whose tokens differ much in length reads hi and lo instead,
see `norms_of_both`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from calibration.ranges import Grid, kind
from calibration.statistics import Statistics

LO_DEVIATIONS = 5.0
PATCH_RATIO = 7
HEARD = 2.5  # times the norm's own rounding
STREAM = re.compile(r"block_\d+/(stream|middle)")
PATCH, PATCH_COARSE, PATCH_REST = "embed/patch", "embed/patch_coarse", "embed/patch_rest"
ONCE_MORE = {PATCH_COARSE: PATCH}  # a role that the same layer gives once more, on another grid: the role of its first result


def with_two_terms(grids: Mapping[str, Grid], largest: Mapping[str, float]) -> dict[str, Grid]:
    """All grids, those of the stream in two terms. `largest`: the largest absolute value seen of every role."""
    found = dict(grids)
    order = stream_order(grids)
    # What the first sum adds to its constant must fit the sum's own grid, or their difference would not be exact.
    unit = max(largest[order[0]], largest.get(branch_role(order[0], largest), 0.0), 1e-6) / 126
    before, energy = unit, 0.0
    for role in order:
        hi = _nested(unit, largest[role] / 127)
        energy += hi**2 / 12
        step = min(hi, max(min(hi, before), _nested(unit, largest.get(branch_role(role, largest), 0.0) / 126)))
        lo = max(LO_DEVIATIONS * math.sqrt(energy), 0.55 * hi) / 127
        found |= {
            role: Grid(hi, 0),
            f"{role}_lo": Grid(lo, 0),
            f"{role}_rest": Grid(0.55 * hi / 127, 0),
            f"{role}_step": Grid(step, 0),
            f"{role}_whole": grids[role],
        }
        norm = norm_of(role)
        if f"{norm}/normed_lo" in grids:
            found[f"{norm}/normed_hi"] = grids[f"{norm}/normed"]
            found[f"{norm}/normed_lo"] = Grid(lo * largest[f"{norm}/rsqrt"], 0)
        before = hi
    return found | _patches(unit, grids)


def norms_of_both(statistics: Mapping[str, Statistics], grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """`…/normed_lo` for the blocks' norms that are to read hi and lo, each times r = 1/|h|, and not z r: one product and one sum more.

    z is off by up to half a step for every token; behind the norm that is r steps, much for a quiet token among bold ones. A norm reads
    both where the mean square of it, step^2 E[r^2], is more than `HEARD` times that of the rounding of what the norm puts out.
    """
    found = {}
    for role in stream_order(grids):
        norm = norm_of(role)
        seen = statistics.get(f"{norm}/rsqrt")
        if seen is not None and f"{norm}/normed" in grids:
            square = float((seen.histogram * seen.centres**2).sum() / seen.histogram.sum())
            if square * grids[role].scale ** 2 > HEARD * grids[f"{norm}/normed"].scale ** 2:
                found[f"{norm}/normed_lo"] = grids[f"{norm}/normed"]
    return found


def norm_of(role: str) -> str:
    """The block's norm that reads this stream: `block_03/norm_2` reads `block_03/middle`, `block_04/norm_1` `block_03/stream`."""
    number = int(role[6:8])
    return f"block_{number:02d}/norm_2" if kind(role) == "middle" else f"block_{number + 1:02d}/norm_1"


def _patches(unit: float, grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """The grids of a patch layer whose results enter the stream as they are, `embed/patch` on the fine one of two.

    Few patches are bold, and the first block hears every step of the many. The coarse grid is the first sum's, so what the fine one
    leaves over is added to the constant exactly; PATCH_RATIO is odd, so the two nest and nothing is left over of what fits.
    """
    if PATCH not in grids or "embed/norm_pre/normed" in grids:
        return {}
    return {
        PATCH: Grid(float(np.float32(unit / PATCH_RATIO)), 0),
        PATCH_COARSE: Grid(unit, 0),
        PATCH_REST: Grid(unit, 0),
    }


def stream_order(grids: Mapping[str, Grid]) -> list[str]:
    """The roles of the stream in the order of the sums: block_00/stream, block_01/middle, block_01/stream, …"""
    return sorted(
        (role for role in grids if STREAM.fullmatch(role)), key=lambda role: (role.split("/")[0], role.endswith("stream"))
    )


def branch_role(role: str, seen: Mapping[str, float]) -> str:
    """The role of what is added to give `role`: the attention's output for a middle, the MLP's for the stream after it.

    The first sum adds the patches, or what norm_pre makes of them, to a constant.
    """
    block, part = role.split("/")
    if block == "block_00":
        return "embed/norm_pre/scaled" if "embed/norm_pre/scaled" in seen else PATCH
    return f"{block}/attention" if part == "middle" else f"{block}/mlp"


def _nested(unit: float, at_least: float) -> float:
    """The smallest unit * 2^k that is at least so large."""
    return unit * 2.0 ** math.ceil(math.log2(max(at_least, 1e-9) / unit) - 1e-9)
