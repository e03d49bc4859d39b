"""Which names stay in a label list: those that are found and are right when they are answered."""

import csv

import numpy as np

from tflite_runtime_app.text.label_list import LabelList
from tools.choose_labels import Found, chosen, found, table


def cosines(answers, names, seed=0):
    """What a model says that answers these [n], with another name second."""
    seen = np.random.default_rng(seed).uniform(0, 0.1, (len(answers), names)).astype("f4")
    seen[np.arange(len(answers)), answers] = 0.9
    return seen


def test_a_name_needs_a_quarter_of_its_pictures_and_a_quarter_of_its_answers():
    assert Found(pictures=20, right=5, answered=20).passes(100)
    assert not Found(pictures=21, right=5, answered=5).passes(100)
    assert not Found(pictures=20, right=5, answered=21).passes(100)
    assert not Found(pictures=0, right=0, answered=3).passes(100), "nothing shows it"


def test_luck_is_no_evidence():
    assert not Found(pictures=1, right=1, answered=1).passes(50), "one of fifty is right by chance in two of a hundred"
    assert Found(pictures=1, right=1, answered=1).passes(200)
    assert Found(pictures=2, right=2, answered=2).passes(50)


def test_a_name_that_cries_wolf_goes_and_its_victims_stay():
    of = np.repeat(np.arange(20), 10)
    answers = of.copy()
    answers[(of < 10) & (np.arange(200) % 10 < 6)] = 19  # takes most images of ten others
    answers[of == 18] = 17  # is never found
    seen = cosines(answers, 20)
    seen[np.arange(200), of] += 0.5 * (of != 18)  # second, where not first
    kept = chosen(seen, of)
    assert set(range(18)) <= set(kept.tolist())
    assert not {18, 19} & set(kept.tolist())
    assert all(one.passes(len(kept)) for one in found(seen, of, kept))


def test_pictures_of_names_taken_away_count_against_nobody():
    of = np.repeat(np.arange(10), 10)
    seen = cosines(np.where(of < 5, 0, of), 10)  # five kinds of thing are all called the first
    assert found(seen, of, np.arange(10))[0] == Found(pictures=10, right=10, answered=50)
    kept = chosen(seen, of)
    assert kept.tolist() == [0, 5, 6, 7, 8, 9]
    assert found(seen, of, kept)[0] == Found(pictures=10, right=10, answered=10)


def test_the_table_tells_of_names_left_out_too():
    of = np.repeat(np.arange(3), 8)
    seen = cosines(np.where(of == 2, 1, of), 3)
    listed = LabelList(("cat", "dog", "unicorn"), ("n1", "n2", "n3"))
    rows = list(csv.DictReader(table(listed, seen, of, np.array([0, 1])).splitlines()))
    assert [(row["name"], row["kept"], row["pictures"], row["right"], row["answered"]) for row in rows] == [
        ("cat", "yes", "8", "8", "8"),
        ("dog", "yes", "8", "8", "8"),
        ("unicorn", "no", "8", "0", "0"),
    ]
