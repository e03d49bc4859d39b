"""The search over observers on a real network: it hears the embedding, and what it chooses is no worse on other images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from calibration import search as module
from calibration.observers import OBSERVERS
from calibration.ranges import FIXED, decide, kind
from calibration.samples import pixels
from calibration.statistics import observe
from convert.calibrate import observers as observing
from convert.calibrate.ranges import statistics
from convert.rewrites import rewrite
from convert.stages import simulate
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Silent
from tests.convert.conversion import images
from tests.convert.small import random_inputs, tower_of, vit


@dataclass(frozen=True)
class Network:
    """A small tower after the whole ladder, in float, and images."""

    visual: Any
    stages: tuple[Stage, ...]
    images: np.ndarray


@pytest.fixture(scope="module")
def network() -> Network:
    visual = vit(0)
    tower, _ = rewrite(tower_of(visual), random_inputs(tower_of(visual)))
    return Network(visual, build_stages(tower, (1, 2)), images(visual, 48, 0))


@pytest.fixture(scope="module")
def seen(network):
    return statistics(network.stages, network.images, None, Silent())


@pytest.mark.parametrize("stream", ["int8", "two_term"])
def test_noise_is_the_simulations_per_image(network, seen, stream):
    grids, chosen = decide(seen, OBSERVERS["mse"]), images(network.visual, 20, 5)
    found = observing.noise_of(network.stages, chosen, stream)(grids)
    if stream == "two_term":
        grids = {role: grid for role, grid in grids.items() if kind(role) not in ("stream", "middle")}
    batch, exits = [torch.from_numpy(pixels(chosen))], tuple(stage.part.blocks_done for stage in network.stages[:-1])
    rounded = build_stages(simulate.quantized_weights(network.stages[0].tower), exits)
    exact, ours = simulate.run(network.stages, batch, None), simulate.run(rounded, batch, simulate.quantizing_tap(grids))
    wanted = [1 - np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(exact.numpy(), ours.numpy(), strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=1e-6)  # another batch size may move a rounding
    assert found.shape == (20,)


def test_one_name_is_one_observer_for_all(network, seen):
    found = observing.observers_by_kind("percentile", network.stages, seen, network.images, "int8", Silent())
    assert set(found) == {kind(role) for role in seen} - set(FIXED)
    assert set(found.values()) == {"percentile"}
    assert decide(seen, found) == decide(seen, OBSERVERS["percentile"])


def test_what_one_outlier_spoils_the_search_mends(network, seen, monkeypatch):
    """Told by the embedding alone, on images that the search never saw; and it finds the same again."""
    monkeypatch.setattr(module, "START", "min-max")
    monkeypatch.setattr(module, "MOST_KINDS", 2)
    spoilt = {
        role: observe(found, np.array([-1.0, 40.0], np.float32)) if kind(role) == "mlp" else found for role, found in seen.items()
    }
    arguments = ("search", network.stages, spoilt, network.images, "int8", Silent())
    found = observing.observers_by_kind(*arguments)
    assert found["mlp"] != "min-max"
    noise = observing.noise_of(network.stages, images(network.visual, 40, 77), "int8")
    assert noise(decide(spoilt, found)).mean() < 0.6 * noise(decide(spoilt, OBSERVERS["min-max"])).mean()
    assert observing.observers_by_kind(*arguments) == found


@pytest.mark.parametrize(("macs", "wanted"), [(0.57e9, 24), (2.2e9, 18), (80e9, 8)])
def test_larger_models_are_searched_on_fewer_images(macs, wanted):
    class Part:
        def macs(self):
            return macs / 4

    assert observing.search_images([Part()] * 4) == wanted
