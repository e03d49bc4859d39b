"""k of n, counted by hand."""

import random

import pytest

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.live.smooth import Smoother, parse_smooth


def test_a_label_counts_once_enough_of_the_last_frames_agree():
    smoother = Smoother(3, 5)
    said = [smoother(label) for label in "aabacbbbb"]
    assert said == ["", "", "", "a", "a", "", "b", "b", "b"]


def test_it_equals_counting_the_window():
    choice, smoother, seen = random.Random(0), Smoother(4, 7), []
    for _ in range(2000):
        seen.append(choice.choice("abb"))
        window = seen[-7:]
        wanted = next((label for label in "ab" if window.count(label) >= 4), "")
        assert smoother(seen[-1]) == wanted


def test_other_labels_begin_anew():
    smoother = Smoother(2, 3)
    smoother("a")
    smoother.forget()
    assert smoother("a") == ""


@pytest.mark.parametrize("text", ["3", "a/b", "0/1", "2/4", "6/5", "3/0", "501/1001", "-3/5"])
def test_impossible_rules_are_refused(text):
    with pytest.raises(UsageError, match="--smooth"):
        parse_smooth(text)


def test_rules_are_read():
    assert parse_smooth("3/5") == (3, 5)
    assert parse_smooth("1/1") == (1, 1)
