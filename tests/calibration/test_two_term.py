"""Which norms read both terms of the stream, and on which grids."""

import numpy as np
import pytest

from calibration.ranges import Grid
from calibration.statistics import observe
from calibration.two_term import HEARD, norm_of, norms_of_both, with_two_terms

STREAM, MIDDLE = "block_00/stream", "block_01/middle"


def of(*lengths: float, step: float = 0.1):
    """Statistics of 1/|h| of two norms, whose streams lie on that step; what a norm puts out on steps of 0.05."""
    seen = observe(None, np.array(lengths, np.float32))
    streams = {STREAM: Grid(step, 1), MIDDLE: Grid(step, 1)}
    norms = {f"block_01/norm_{k}/normed": Grid(0.05, 0) for k in (1, 2)}
    return {f"block_01/norm_{k}/rsqrt": seen for k in (1, 2)}, streams | norms


def test_the_norm_behind_a_stream():
    assert [norm_of(role) for role in (STREAM, MIDDLE, "block_11/stream")] == [
        "block_01/norm_1",
        "block_01/norm_2",
        "block_12/norm_1",
    ]


@pytest.mark.parametrize("times", [0.98, 1.02])
def test_a_norm_reads_both_where_the_streams_rounding_is_heard_over_its_own(times):
    """One quiet token among three bold ones decides: the mean square counts."""
    quiet = float(np.sqrt(4 * HEARD) * 0.05 / 0.1 * times)
    found = norms_of_both(*of(0.01, 0.01, 0.01, quiet))
    assert set(found) == ({"block_01/norm_1/normed_lo", "block_01/norm_2/normed_lo"} if times > 1 else set())


def test_lo_behind_the_norm_covers_lo_times_the_largest_factor():
    seen, grids = of(0.01, 2.0, step=1.0)
    grids |= norms_of_both(seen, grids)
    largest = {STREAM: 100.0, MIDDLE: 100.0, "block_01/attention": 50.0, "embed/norm_pre/scaled": 9.0} | dict.fromkeys(seen, 2.0)
    found = with_two_terms(grids, largest)
    for norm, stream in ((1, STREAM), (2, MIDDLE)):
        assert found[f"block_01/norm_{norm}/normed_lo"].maximum == pytest.approx(2.0 * found[f"{stream}_lo"].maximum)
        assert found[f"block_01/norm_{norm}/normed_hi"] == grids[f"block_01/norm_{norm}/normed"]
