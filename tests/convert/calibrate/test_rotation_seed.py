"""The rotation's seed: tried on real towers, and the quietest one is taken."""

import dataclasses

import pytest

from convert.calibrate import channels
from convert.calibrate import rotation_seed as seeds
from convert.model.load import load_model
from convert.rewrites import LADDER
from convert.support.progress import Silent
from tests.convert import model_folder
from tests.convert.conversion import images


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = model_folder.write(tmp_path_factory.mktemp("seeds") / "small")
    return load_model(str(folder), None, folder.parent)


@pytest.fixture(scope="module")
def pictures(model):
    return images(model.module.visual, 24, 0)


@pytest.fixture(scope="module")
def measured(model, pictures):
    return channels.measure(model.tower(), (1,), pictures, Silent())


class Told(Silent):
    """Keeps what was said."""

    def __init__(self):
        self.said = []

    def step(self, text):
        self.said.append(text)


def noise_told(said):
    (line,) = said
    return {int(key): float(value) for key, value in (pair.split(": ") for pair in line.split(": ", 1)[1].split(", "))}


def chosen(model, measured, pictures, ladder=LADDER):
    told = Told()
    found = seeds.quietest(model, ladder, (1,), measured, pictures, "two_term", told)
    return found, told.said


def test_the_seed_of_least_noise_is_taken(model, measured, pictures):
    found, said = chosen(model, measured, pictures)
    noise = noise_told(said)
    assert set(noise) == set(seeds.SEEDS)
    assert len(set(noise.values())) > 1, "seeds differ"
    assert noise[found.rotation_seed] == min(noise.values())
    assert found == dataclasses.replace(measured, rotation_seed=found.rotation_seed)


def test_with_fewer_images_fewer_seeds_and_with_a_handful_none(model, measured, pictures):
    found, said = chosen(model, measured, pictures[: seeds.TELLING - 2])
    assert set(noise_told(said)) == set(seeds.SEEDS[:2])
    assert found.rotation_seed in seeds.SEEDS[:2]
    found, said = chosen(model, measured, pictures[:4])
    assert said == []
    assert found is measured


def test_without_a_rotation_there_is_nothing_to_choose(model, measured, pictures):
    unrotated = tuple(step for step in LADDER if step.name != "rotation")
    found, said = chosen(model, measured, pictures, unrotated)
    assert said == []
    assert found is measured
