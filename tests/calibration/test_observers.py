"""Every observer against what it stands for, computed on the raw data."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as divergence_of
from torch.ao.quantization.observer import MovingAverageMinMaxObserver

from calibration.observers import OBSERVERS, entropy, percentile
from calibration.observers.mean_squared_error import SHRINK, choose
from calibration.relevance import READERS
from calibration.statistics import AVERAGING, BINS, observe
from tests.reference import divergence, fake_quantization


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def data(name: str) -> np.ndarray:
    random = np.random.default_rng(5)
    made = {
        "normal": lambda: random.normal(0, 1, 20000),
        "heavy tail": lambda: random.standard_t(3, 20000),
        "one outlier": lambda: np.append(random.normal(0, 1, 20000), 60.0),
        "outlier channel": lambda: np.append(random.normal(0, 0.5, 20000), random.normal(-20, 1, 60)),
        "gelu": lambda: gelu(random.normal(-0.5, 2, 20000)),
        "all above zero": lambda: random.gamma(2, 1, 20000) + 0.5,
        "all below zero": lambda: -random.gamma(2, 1, 20000),
        "uniform": lambda: random.uniform(-3, 1, 20000),
    }
    return made[name]().astype(np.float32)


NAMES = ("normal", "heavy tail", "one outlier", "outlier channel", "gelu", "all above zero", "all below zero", "uniform")


def test_the_observers_there_are():
    assert list(OBSERVERS) == ["min-max", "moving-average", "percentile", "mse", "entropy"]


@pytest.mark.parametrize("name", NAMES)
def test_min_max_is_numpys(name):
    values = data(name)
    assert OBSERVERS["min-max"](observe(None, values)) == (values.min(), values.max())


@pytest.mark.parametrize("clipped", [1e-5, 1e-3, 0.01, 0.1])
@pytest.mark.parametrize("name", NAMES)
def test_percentile_is_numpys_to_a_bin(name, clipped):
    values = data(name)
    seen = observe(None, values)
    low, high = percentile.choose(seen, clipped=clipped)
    width = 2 * seen.limit / BINS
    for found, method, q in ((low, "lower", clipped), (high, "higher", 1 - clipped)):
        neighbours = np.percentile(values, q * 100, method=method), np.percentile(values, q * 100, method="nearest")
        assert min(abs(found - wanted) for wanted in neighbours) <= 1.5 * width
    assert values.min() <= low <= high <= values.max()


def test_percentile_clips_its_share():
    values = np.random.default_rng(0).normal(0, 1, 1_000_000).astype(np.float32)
    low, high = OBSERVERS["percentile"](observe(None, values))
    assert 5 <= (values < low).sum() <= 15
    assert 5 <= (values > high).sum() <= 15


@pytest.mark.parametrize("name", NAMES)
def test_mse_comes_close_to_the_best_of_its_family(name):
    """Judged by the true fake-quantization error on the raw data, against every range of the same family tried out."""
    values = data(name)
    low, high = choose(observe(None, values))
    best, _, _ = fake_quantization.best(values, SHRINK)
    assert fake_quantization.error(values, low, high) <= 1.05 * best
    assert fake_quantization.error(values, low, high) <= 1.001 * fake_quantization.error(values, values.min(), values.max())


@pytest.mark.parametrize(("name", "gain"), [("one outlier", 1.02), ("heavy tail", 1.04), ("outlier channel", 1.0)])
def test_mse_clips_where_that_pays_and_only_there(name, gain):
    values = data(name)
    low, high = choose(observe(None, values))
    full = fake_quantization.error(values, values.min(), values.max())
    assert full >= gain * fake_quantization.error(values, low, high)


def test_mse_does_not_clip_what_is_common():
    values = data("uniform")
    low, high = choose(observe(None, values))
    assert low <= 0.97 * values.min()
    assert high >= 0.97 * values.max()


def test_mse_with_a_reader_looks_at_what_the_reader_makes_of_it():
    """fc_1 is read by GELU, which is flat below -3: codes there are wasted."""
    values = (np.random.default_rng(3).normal(-4, 3, 3000)).astype(np.float32)
    seen = observe(None, values)
    ranges = {"plain": choose(seen), "with reader": choose(seen, READERS["fc_1"])}

    def error_after(low: float, high: float) -> float:
        scale = (high - low) / 255
        zero = np.clip(np.round(-128 - low / scale), -128, 127)
        codes = np.clip(np.round(values / scale) + zero, -128, 127)
        return float(((gelu((codes - zero) * scale) - gelu(values)) ** 2).mean())

    errors = {name: error_after(*chosen) for name, chosen in ranges.items()}
    assert errors["with reader"] < 0.6 * errors["plain"]
    lows, highs = np.linspace(0.02, 1, 25) * values.min(), np.linspace(0.2, 1, 12) * values.max()
    assert errors["with reader"] <= 1.1 * min(error_after(low, high) for low in lows for high in highs)


def batches(count: int) -> list[np.ndarray]:
    """Batches whose extremes wander."""
    random = np.random.default_rng(count)
    return [random.normal(random.normal(), random.uniform(0.5, 2), 400).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 17, 160])
def test_moving_average_is_torchs_with_the_weight_of_each_batch(count):
    """Their start from the first batch alone is not ours: until 1 / AVERAGING batches were seen, each weighs as much as any other."""
    theirs = MovingAverageMinMaxObserver(dtype=torch.qint8)
    seen = None
    for number, batch in enumerate(batches(count), start=1):
        theirs.averaging_constant = max(AVERAGING, 1 / number)
        theirs(torch.from_numpy(batch))
        seen = observe(seen, batch)
    low, high = OBSERVERS["moving-average"](seen)
    assert (low, high) == pytest.approx((float(theirs.min_val), float(theirs.max_val)), rel=1e-5)


def test_moving_average_of_few_batches_is_the_mean_of_their_extremes():
    seen, few = None, batches(13)
    for batch in few:
        seen = observe(seen, batch)
    wanted = np.mean([batch.min() for batch in few]), np.mean([batch.max() for batch in few])
    assert OBSERVERS["moving-average"](seen) == pytest.approx(wanted, rel=1e-6)
    assert seen.minimum < wanted[0] and wanted[1] < seen.maximum


@pytest.mark.parametrize("shrink", [(1.0, 1.0), (0.5, 0.7), (0.9, 0.2), (0.1, 0.4)])
@pytest.mark.parametrize("name", NAMES)
def test_divergence_is_that_of_the_definition(name, shrink):
    seen = observe(None, data(name))
    low, high = min(seen.minimum, 0.0) * shrink[0], max(seen.maximum, 0.0) * shrink[1]
    wanted = divergence.divergence(seen.histogram, seen.limit, low, high)
    assert entropy.divergence(seen.centres, seen.histogram, low, high) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_entropy_comes_close_to_the_best_of_all_ranges(name):
    """Both ends are searched in turn, not all pairs of them: little is lost by that."""
    seen = observe(None, data(name))
    low, high = min(seen.minimum, 0.0), max(seen.maximum, 0.0)
    chosen = OBSERVERS["entropy"](seen)
    pairs = [(low * a, high * b) for a in entropy.SHRINK[::4] for b in entropy.SHRINK[::4]]
    costs = [entropy.divergence(seen.centres, seen.histogram, *pair) for pair in pairs]
    found = entropy.divergence(seen.centres, seen.histogram, *chosen)
    assert found <= entropy.divergence(seen.centres, seen.histogram, low, high)
    assert found <= 1.05 * min(costs)


def test_entropy_keeps_more_of_a_long_tail_in_its_codes_than_the_full_range():
    """Told by the raw data: how far the codes' own distribution, spread over their width, is from the data's."""
    values = np.random.default_rng(3).standard_t(3, 400_000).astype(np.float32)
    edges = np.linspace(-80, 80, 20_001)
    wanted = np.histogram(values, edges)[0]

    def told(low: float, high: float) -> float:
        step = (high - low) / 255
        codes = np.clip(np.round((values - low) / step), 0, 255)
        spread = low + (codes + np.random.default_rng(4).uniform(-0.5, 0.5, codes.size)) * step
        return float(divergence_of(wanted + 1e-3, np.histogram(spread, edges)[0] + 1e-3))

    low, high = OBSERVERS["entropy"](observe(None, values))
    assert told(low, high) < 0.8 * told(float(values.min()), float(values.max()))


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_constant_tensor_is_covered(name, value):
    low, high = OBSERVERS[name](observe(None, np.full(100, value, np.float32)))
    assert min(low, 0.0) <= value <= max(high, 0.0) or fake_quantization.error(np.array([value]), low, high) < 1e-6
    assert np.isfinite([low, high]).all()


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("kind", NAMES)
def test_no_observer_goes_beyond_what_was_seen(name, kind):
    values = data(kind)
    low, high = OBSERVERS[name](observe(None, values))
    assert min(float(values.min()), 0.0) <= low <= high <= max(float(values.max()), 0.0)
