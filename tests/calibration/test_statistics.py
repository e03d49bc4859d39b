"""What is remembered of a tensor: nothing is lost, whatever the batches and their order, and memory does not grow."""

import numpy as np
import pytest

from calibration.collect import ChannelMeans, collect
from calibration.statistics import BINS, Statistics, observe


def lattice(count: int, seed: int) -> np.ndarray:
    """Values in the middle of the finest bins, where no rounding can move one into the next bin; they need several limits."""
    random = np.random.default_rng(seed)
    sizes = 2.0 ** random.integers(-3, 4, count)
    return ((np.floor(random.uniform(-1, 1, count) * sizes * 256) + 0.5) / 256).astype(np.float32)


def of(*batches: np.ndarray) -> Statistics:
    seen = None
    for batch in batches:
        seen = observe(seen, batch)
    return seen


def same(a: Statistics, b: Statistics) -> None:
    assert (a.minimum, a.maximum, a.count, a.limit) == (b.minimum, b.maximum, b.count, b.limit)
    np.testing.assert_array_equal(a.histogram, b.histogram)


def test_extremes_count_and_histogram_are_numpys():
    values = np.random.default_rng(0).normal(0.3, 2, (7, 11, 13)).astype(np.float32)
    seen = observe(None, values)
    assert (seen.minimum, seen.maximum, seen.count) == (values.min(), values.max(), values.size)
    assert seen.limit >= np.abs(values).max() > seen.limit / 2.001
    assert np.log2(seen.limit) == int(np.log2(seen.limit))
    wanted, edges = np.histogram(values.astype(np.float64), BINS, (-seen.limit, seen.limit))
    assert np.abs(np.cumsum(seen.histogram) - np.cumsum(wanted)).max() <= 2  # a value on an edge may fall either way in float32
    np.testing.assert_allclose(seen.centres, (edges[:-1] + edges[1:]) / 2, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_splits_and_order_do_not_matter(seed):
    values = lattice(4000, seed)
    whole = of(values)
    random = np.random.default_rng(seed)
    for _ in range(4):
        cuts = np.sort(random.choice(np.arange(1, 4000), 6, replace=False))
        same(whole, of(*np.split(random.permutation(values), cuts)))
    same(whole, of(*np.split(np.sort(values), 8)))
    rising = values[np.argsort(np.abs(values))]
    same(whole, of(*np.split(rising, 16)))  # the limit doubles again and again


def test_counts_are_conserved_when_the_limit_doubles():
    seen, total, limits = None, 0, []
    for power in range(-6, 12, 3):
        values = (np.random.default_rng(power + 9).uniform(-1, 1, 500) * 2.0**power).astype(np.float32)
        before = seen
        seen, total = observe(seen, values), total + 500
        limits.append(seen.limit)
        assert seen.count == seen.histogram.sum() == total
        if before is not None:
            centre = slice(BINS // 2 - 1, BINS // 2 + 1)
            assert seen.histogram[centre].sum() >= before.histogram[centre].sum()
    assert limits == sorted(set(limits)), "the limit should have grown every time"


def test_the_old_statistics_are_left_alone():
    first = observe(None, np.ones(10, np.float32))
    before = first.histogram.copy()
    observe(first, np.full(10, 100.0, np.float32))
    np.testing.assert_array_equal(first.histogram, before)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(wrong):
    values = np.zeros((3, 4), np.float32)
    values[1, 2] = wrong
    for old in (None, observe(None, np.ones(3, np.float32))):
        with pytest.raises(ValueError, match="not finite"):
            observe(old, values)


def test_weights_count_as_repetitions():
    values = lattice(300, 7)
    weights = np.random.default_rng(1).integers(1, 5, 300)
    weighted, repeated = observe(None, values, weights.astype(np.float32)), observe(None, np.repeat(values, weights))
    same(weighted, repeated)


@pytest.mark.parametrize("value", [0.0, 1e-30, -3.5, 1e20])
def test_a_constant_tensor(value):
    seen = observe(None, np.full(5, value, np.float32))
    assert seen.minimum == seen.maximum == np.float32(value)
    assert seen.histogram.sum() == 5
    assert np.isfinite(seen.limit)
    (filled,) = np.flatnonzero(seen.histogram)
    assert abs(seen.centres[filled] - value) <= 1.001 * seen.limit / BINS


def batches(count: int):
    for k in range(count):
        yield np.random.default_rng(k).uniform(0, 1, (4, 6, 6, 3)).astype(np.float32)


def run(batch, tap):
    tap("a", batch - 0.5)
    tap("b", batch**2)
    tap("unwanted", batch)


def test_collect_hears_the_roles_asked_for_and_no_other():
    found = collect(run, batches(3), frozenset({"a", "b", "never heard"}))
    assert set(found) == {"a", "b"}
    everything = np.concatenate(list(batches(3)))
    assert found["a"].count == everything.size
    assert found["b"].maximum == pytest.approx(float((everything**2).max()))


def test_memory_does_not_grow_with_the_images():
    """What stays is one Statistics per role, of one size; batches are let go one by one."""
    import tracemalloc

    def peak(count: int) -> tuple[int, int]:
        tracemalloc.start()
        found = collect(run, batches(count), frozenset({"a", "b"}))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, sum(seen.histogram.nbytes for seen in found.values())

    peak(2)
    (few, few_kept), (many, many_kept) = peak(3), peak(60)
    assert few_kept == many_kept
    assert many < 1.3 * few


def test_scores_count_as_much_as_softmax_cares():
    """A score far below its row's largest, whose weight is nothing, is not counted; the extremes know it all the same."""
    scores = np.array([[[8.0, 8.0, -60.0, 7.0]]], np.float32)
    power = np.exp(scores - 8)
    weights = (power / power.sum()).astype(np.float32)

    def one(batch, tap):
        tap("block_01/scores", scores)
        tap("block_01/softmax", weights)

    seen = collect(one, [np.zeros((1, 2, 2, 3), np.float32)] * 3, frozenset({"block_01/scores", "block_01/softmax"}))
    found = seen["block_01/scores"]
    assert (found.minimum, found.maximum) == (-60, 8)
    share = found.histogram / found.histogram.sum()
    assert found.count == pytest.approx(found.histogram.sum())
    assert share[found.centres < 0].sum() < 1e-6
    assert share[found.centres > 7.5].sum() > 2 * share[(found.centres > 0) & (found.centres < 7.5)].sum() > 0
    assert seen["block_01/softmax"].count == 12, "all others count alike"


def test_channel_means_are_numpys():
    random, means = np.random.default_rng(0), ChannelMeans(frozenset({"block_01/key"}))
    parts = [random.normal(3, 1, (n, 5, 8)).astype(np.float32) for n in (1, 4, 2)]
    for part in parts:
        means("block_01/key", part)
        means("block_01/value", part)
    found = means.result()
    assert set(found) == {"block_01/key"}
    wanted = np.concatenate([part.reshape(-1, 8) for part in parts]).astype(np.float64).mean(0)
    np.testing.assert_allclose(found["block_01/key"], wanted, rtol=1e-6)
    assert found["block_01/key"].dtype == np.float32


def test_channel_means_do_not_drift():
    """Many small batches around a large constant: summed in float32 the mean would be off."""
    means = ChannelMeans(frozenset({"k"}))
    for k in range(2000):
        means("k", np.full((50, 2), 1000 + (k % 2) * 1e-2, np.float32))
    np.testing.assert_allclose(means.result()["k"], 1000.005, atol=2e-4)
