"""The cost model keeps to the published times it was fitted to, says how far off it is, and grows with all that costs."""

import math
from dataclasses import replace

import pytest

from targets.cost import CUT_CYCLES, NETWORKS, CostModel, Published, Work, fit, leave_one_out
from targets.profile import load

BOARDS = ("rpi", "rpizero2w", "rpi3", "rpi4", "rpi5")
WORK = Work(macs=1e9, bytes=3e7, islands=40, plain={"SOFTMAX": 1e5, "GELU": 1e6})


def model(name: str, threads: int) -> CostModel:
    board = load(name)
    found = fit(board.published, threads, board.bandwidth_gb_s, board.clock_mhz)
    assert found is not None
    return found


@pytest.mark.parametrize("name", BOARDS)
def test_more_work_of_any_kind_never_takes_less_time(name):
    cost = model(name, 4)
    base = cost.ms(WORK)
    assert cost.ms(replace(WORK, macs=2e9)) == pytest.approx(base + 1e12 / cost.rate)
    assert cost.ms(replace(WORK, islands=41)) == pytest.approx(base + 1000 * CUT_CYCLES / cost.clock)
    assert cost.ms(replace(WORK, bytes=4e7)) == pytest.approx(base + 1e10 / cost.bandwidth)
    for more in ({"macs": 1.001e9}, {"islands": 41}, {"bytes": 3.001e7}, {"plain": {"SOFTMAX": 1e5, "GELU": 1.1e6}}):
        assert cost.ms(replace(WORK, **more)) > base, more
    assert cost.ms(replace(WORK, plain={**WORK.plain, "AN_UNKNOWN_ONE": 10.0})) > base


def test_the_faster_board_is_predicted_faster():
    times = [model(name, 4).ms(WORK) for name in ("rpizero2w", "rpi3", "rpi4", "rpi5")]
    assert times == sorted(times, reverse=True)


def test_a_rate_is_recovered_from_times_that_it_made():
    """Reference: times computed by hand from 20 GMAC/s and 5 GB/s."""
    times = [Published(name, "made up", 4, 1000 * (w.macs / 20e9 + w.bytes / 5e9)) for name, w in NETWORKS.items()]
    found, error = fit(times, 4, 5.0, 2000), leave_one_out(times, 4, 5.0, 2000)
    assert found is not None
    assert error is not None
    assert found.rate == pytest.approx(20e9)
    assert error.worst < 1e-9


def test_leaving_one_out_is_what_it_says():
    """Two points: each is predicted by the other's rate alone, here without bytes to speak of."""
    points = [Published("ResNet-50", "x", 1, 4100.0), Published("ResNet-18", "x", 1, 910.0)]  # 1 and 2 GMAC/s
    error = leave_one_out(points, 1, 1e4, 1000)
    assert error is not None
    assert error.points == 2
    assert error.worst == pytest.approx(1.0, abs=0.02), "the small network at half the rate takes twice the time"
    assert error.mean == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("threads", [1, 4])
def test_published_times_are_predicted_from_the_others_within_half(name, threads):
    board = load(name)
    error = leave_one_out(board.published, threads, board.bandwidth_gb_s, board.clock_mhz)
    assert error is not None
    assert 0 < error.mean <= error.worst < 0.5


def test_nothing_published_gives_no_prediction():
    host = load("host")
    assert fit(host.published, host.threads, host.bandwidth_gb_s, host.clock_mhz) is None
    assert leave_one_out(host.published, host.threads, host.bandwidth_gb_s, host.clock_mhz) is None
    one = [Published("ResNet-50", "x", 1, 80.0)]
    assert fit(one, 2, 1.0, 1000) is None, "times with another number of threads do not count"
    assert leave_one_out(one, 1, 1.0, 1000) is None


def test_a_time_shorter_than_its_bytes_still_gives_a_rate():
    found = fit([Published("MobileNetV2", "x", 1, 1.0)], 1, 0.1, 1000)
    assert found is not None
    assert math.isfinite(found.rate)
    assert found.rate > 0
