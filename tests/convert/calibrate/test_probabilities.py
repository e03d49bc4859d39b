"""Two terms are taken where they make the simulated network quieter, and only there."""

import numpy as np

from calibration.observers import OBSERVERS
from calibration.phases import RangeCalibration
from calibration.probabilities import any_in_two_terms, seen, with_two_terms
from calibration.ranges import decide
from convert.calibrate import probabilities
from convert.calibrate.probabilities import where_it_pays
from convert.calibrate.ranges import statistics
from convert.support.progress import Silent
from tests.convert.calibrate.test_observers import network  # noqa: F401
from tests.convert.conversion import images


def ranges_of(network) -> RangeCalibration:  # noqa: F811
    return RangeCalibration(decide(statistics(network.stages, network.images, None, Silent()), OBSERVERS["mse"]))


def test_they_are_taken_where_noise_falls_and_not_by_chance(network, monkeypatch):  # noqa: F811
    ranges, chosen = ranges_of(network), images(network.visual, 24, 3)

    def hearing(gain):
        def noise_of(stages, some, stream):
            spread = np.linspace(0.9, 1.1, len(some))
            return lambda grids: spread * (1 - gain if any_in_two_terms(grids) else 1.0)

        return noise_of

    for gain, taken in ((0.5, True), (0.05, False), (-0.5, False)):
        monkeypatch.setattr(probabilities, "noise_of", hearing(gain))
        found = where_it_pays(network.stages, ranges, chosen, "two_term", Silent())
        assert any_in_two_terms(found.grids) == taken
        assert seen(found.grids) == ranges.grids


def test_a_handful_of_images_says_nothing(network):  # noqa: F811
    ranges = ranges_of(network)
    assert where_it_pays(network.stages, ranges, network.images[:4], "two_term", Silent()) is ranges


def test_a_few_tokens_are_as_quiet_with_softmax(network):  # noqa: F811
    """With so few tokens a probability has codes enough: two terms change the noise by next to nothing."""
    ranges, chosen = ranges_of(network), images(network.visual, 24, 3)
    noise = probabilities.noise_of(network.stages, chosen, "two_term")
    tokens = network.stages[0].tower.tokens
    one, two = noise(ranges.grids).mean(), noise(with_two_terms(ranges.grids, tokens)).mean()
    assert 0.5 * one < two < 1.2 * one
