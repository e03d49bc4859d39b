"""GPTQ against rounding to nearest, against an exhaustive search, and against the textbook's column-by-column form."""

import itertools

import numpy as np
import pytest

from calibration.rounding import Moments, gptq, nearest, steps


def layer(rows: int, columns: int, seed: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight and inputs that go together: most of their energy lies in `rank` directions."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(4000, rank)) @ random.normal(size=(rank, columns)) + 0.1 * random.normal(size=(4000, columns))
    return random.normal(size=(rows, columns)).astype(np.float32), inputs.astype(np.float32)


def output_error(weight: np.ndarray, codes: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Mean squared error of every row's output."""
    return (((codes * steps(weight) - weight) @ inputs.T) ** 2).mean(1)


def test_the_output_of_every_row_is_better_than_with_nearest_codes():
    weight, inputs = layer(24, 160, 0, 20)
    moments = inputs.T @ inputs / len(inputs)
    ours, theirs = (output_error(weight, codes, inputs) for codes in (gptq(weight, moments, 0.0), nearest(weight)))
    assert ours.mean() < 0.3 * theirs.mean()
    assert (ours < theirs).mean() > 0.9


def test_inputs_that_have_nothing_in_common_leave_nearest_codes():
    weight, _ = layer(8, 140, 1, 1)
    assert np.array_equal(gptq(weight, np.diag(np.linspace(0.5, 2.0, 140)), 0.0), nearest(weight))


def test_near_the_best_of_all_roundings():
    """Six weights a row: all choices of rounding up or down are tried."""
    weight, inputs = layer(12, 6, 2, 2)
    moments = inputs.T @ inputs / len(inputs)
    step = steps(weight)
    floor = np.floor(weight / step)
    choices = np.array(list(itertools.product((0, 1), repeat=6)))
    best = np.array([min(output_error(weight, floor + choice, inputs)[row] for choice in choices) for row in range(12)])
    ours, theirs = output_error(weight, gptq(weight, moments, 0.0), inputs), output_error(weight, nearest(weight), inputs)
    assert ours.mean() < (best.mean() + theirs.mean()) / 2


def test_equals_the_textbook_column_by_column():
    """GPTQ's algorithm without blocks, in float64, in the order of the strongest inputs."""
    weight, inputs = layer(5, 150, 3, 30)
    moments = (inputs.T @ inputs / len(inputs)).astype(np.float64)
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + 1e-4 * np.diag(moments).mean() * np.eye(150)
    inverse, rest, step = np.linalg.inv(damped), weight[:, order].astype(np.float64), steps(weight)
    codes = np.zeros_like(rest)
    for j in range(150):
        codes[:, j] = np.clip(np.rint(rest[:, j] / step[:, 0]), -127, 127)
        error = (rest[:, j] - codes[:, j] * step[:, 0]) / inverse[j, j]
        rest -= np.outer(error, inverse[j])
        inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    found = np.empty_like(codes)
    found[:, order] = codes
    assert (gptq(weight, moments, 0.0) == found).mean() > 0.99, "float32 may decide a tie otherwise"


def test_coarse_inputs_damp():
    """Where rounding of the inputs outweighs what they have in common, nothing is to be made up for."""
    weight, inputs = layer(8, 64, 4, 4)
    moments = inputs.T @ inputs / len(inputs)
    assert (gptq(weight, moments, 1e4) == nearest(weight)).mean() > 0.99


def test_a_dead_input_does_no_harm():
    weight, inputs = layer(6, 40, 5, 10)
    inputs[:, 7] = 0.0
    codes = gptq(weight, inputs.T @ inputs / len(inputs), 0.0)
    assert np.array_equal(codes[:, 7], nearest(weight)[:, 7])
    assert np.abs(codes).max() <= 127


@pytest.mark.parametrize("batches", [1, 3, 8])
def test_moments_do_not_depend_on_batches(batches):
    _, inputs = layer(1, 30, 6, 5)
    moments = Moments(frozenset({"a"}))
    for part in np.array_split(inputs[:400], batches):
        moments("a", part)
        moments("b", part)
    assert set(moments.result()) == {"a"}
    np.testing.assert_allclose(moments.result()["a"], inputs[:400].T @ inputs[:400] / 400, rtol=1e-3, atol=1e-3)


def test_the_largest_weight_of_a_row_is_code_127():
    weight, _ = layer(9, 20, 7, 3)
    codes = nearest(weight)
    assert (np.abs(codes).max(1) == 127).all()
    np.testing.assert_allclose(codes * steps(weight), weight, atol=float(steps(weight).max()) / 2 * 1.001)
