"""The search over observers: it finds what helps, believes nothing that the choice of images explains, and costs no more than it says."""

import numpy as np
import pytest

from calibration import search as module
from calibration.observers import OBSERVERS
from calibration.ranges import FIXED, decide, kind, on_grid
from calibration.search import MOST_KINDS, everywhere, search
from calibration.statistics import observe

IMAGES = 24


def tensor(seed: int) -> np.ndarray:
    """A long tail, different for each image [images, values]: every observer makes another range of it."""
    return np.random.default_rng(seed).standard_t(3, (2 * IMAGES, 3000)).astype(np.float32)


TENSORS = {role: tensor(seed) for seed, role in enumerate(("block_01/mlp", "block_02/mlp", "block_01/query", "embed/patch"))}


def statistics(tensors=TENSORS):
    return {role: observe(None, values) for role, values in tensors.items()} | {"image": observe(None, np.ones(3, np.float32))}


class Network:
    """Noise of each image: for each kind a function of the rounding error of its values [n, values]; remembers what it was asked."""

    def __init__(self, half: int, error, tensors=TENSORS):
        self.values = {role: values[half::2] for role, values in tensors.items()}
        self.error, self.asked = error, []

    def __call__(self, grids):
        self.asked.append(dict(grids))
        noise = np.full(IMAGES, 1e-6)
        for role, values in self.values.items():
            if role in grids:
                noise += self.error(role, values, on_grid(values, grids[role]) - values)
        return noise


def mean_square(role, values, error):
    return (error**2).mean(1)


def inner(role, values, error):
    """Of one kind the network hears only the small values, and mean squares of the others."""
    return np.where(np.abs(values) < 1, error**2, 0).mean(1) if kind(role) == "mlp" else (error**2).mean(1)


def halves(error, tensors=TENSORS):
    return Network(0, error, tensors), Network(1, error, tensors)


def test_where_mean_squares_count_mse_stays():
    assert search(statistics(), *halves(mean_square)) == {"mlp": "mse", "patch": "mse", "query": "mse"}


def test_a_kind_whose_small_values_count_gets_the_observer_of_the_finest_steps():
    seen = statistics()
    found = search(seen, *halves(inner))
    steps = {name: decide(seen, observer)["block_01/mlp"].scale for name, observer in OBSERVERS.items()}
    assert found == {"mlp": min(steps, key=steps.get), "patch": "mse", "query": "mse"}
    assert steps[found["mlp"]] < 0.7 * steps["mse"]
    held = {role: tensor(99) for role in TENSORS}
    assert Network(0, inner, held)(decide(seen, found)).mean() < Network(0, inner, held)(decide(seen, OBSERVERS["mse"])).mean()


def test_what_the_other_images_do_not_confirm_is_dropped():
    assert search(statistics(), Network(0, inner), Network(1, mean_square))["mlp"] == "mse"


@pytest.mark.parametrize("seed", range(3))
def test_dice_are_seldom_believed(seed):
    """Noise that has nothing to do with the grids: of the 30 differences that the searches take for one, hardly any is kept."""
    random, kept, seen = np.random.default_rng(seed), 0, statistics({role: values[:2] for role, values in TENSORS.items()})
    for _ in range(10):
        dice = [lambda grids: np.exp(random.normal(0, 1, IMAGES)) * len(grids)] * 2  # every role seems to matter
        kept += sum(name != "mse" for name in search(seen, *dice).values())
    assert kept <= 3


def test_it_is_reproducible():
    assert search(statistics(), *halves(inner)) == search(statistics(), *halves(inner))


def test_only_kinds_that_matter_are_tried_and_each_once_more_per_observer():
    tensors = {f"block_01/kind_{k:02d}": tensor(k) * 2.0**-k for k in range(16)}
    seen, (first, other) = statistics(tensors), halves(mean_square, tensors)
    search(seen, first, other)
    start = decide(seen, OBSERVERS["mse"])
    tried = {kind(role) for grids in first.asked for role in grids if grids[role] != start[role]}
    assert tried and tried <= {f"kind_{k:02d}" for k in range(4)}, "each is a quarter of the one before: 1, 0.25, 0.06, 0.016"
    assert len(first.asked) <= 1 + 16 + len(tried) * (len(OBSERVERS) - 1)
    assert len(other.asked) <= 1 + len(tried)


def test_its_cost_is_bounded_however_many_kinds_there_are():
    tensors = {f"block_01/kind_{k:02d}": tensor(k) for k in range(MOST_KINDS + 5)}
    first, other = halves(mean_square, tensors)
    search(statistics(tensors), first, other)
    assert len(first.asked) <= 1 + len(tensors) + MOST_KINDS * (len(OBSERVERS) - 1)
    assert len(other.asked) <= 1 + MOST_KINDS


def test_grids_that_are_the_same_are_tried_once():
    """Uniform values: nothing is gained by clipping them, so hardly an observer differs by a step."""
    tensors = {"block_01/mlp": np.random.default_rng(0).uniform(-1, 1, (2 * IMAGES, 3000)).astype(np.float32)}
    first, other = halves(mean_square, tensors)
    search(statistics(tensors), first, other)
    assert len(first.asked) == 2, "the start, and the kind held exactly"


def test_fixed_grids_have_no_observer():
    assert set(everywhere(statistics(), "entropy").values()) == {"entropy"}
    assert not set(everywhere(statistics(), "entropy")) & set(FIXED)
    assert "image" not in search(statistics(), *halves(mean_square))


def test_kinds_come_in_the_order_of_what_they_add():
    shown, tensors = [], {**TENSORS, "embed/patch": tensor(7) * 8, "block_01/query": tensor(2) * 0.01}

    def watch(items, what):
        shown.append(list(items))
        return items

    search(statistics(tensors), *halves(mean_square, tensors), watch)
    assert shown == [["mlp", "patch", "query"], ["patch", "mlp"]]


def test_from_a_bad_start_it_finds_back(monkeypatch):
    """Every image suffers from steps that a few outliers have made coarse."""
    monkeypatch.setattr(module, "START", "min-max")
    seen, (first, other) = statistics(), halves(lambda role, values, error: np.where(np.abs(values) < 1, error**2, 0).mean(1))
    found = search(seen, first, other)
    assert "min-max" not in found.values()
    assert other(decide(seen, found)).mean() < 0.5 * other(decide(seen, OBSERVERS["min-max"])).mean()
