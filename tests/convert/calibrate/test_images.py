"""How images are cut into shares: by position, and without those that show what no label names."""

import numpy as np

from calibration.samples import SampleSet
from convert.calibrate.images import share_out
from convert.model.labels import named_places
from convert.support.progress import Silent
from tflite_runtime_app.text.label_list import typed_labels


def pictures(folders):
    images = np.arange(len(folders), dtype=np.int8).reshape(-1, 1, 1, 1)
    return SampleSet(tuple(map(str, range(len(folders)))), tuple(folders), images, "digest", ())


def test_shares_are_fifths_by_position():
    shares = share_out(pictures("a" * 25))
    parts = (shares.ranges, shares.gates, shares.thresholds, shares.report)
    assert [part.images.ravel().tolist() for part in parts] == [
        list(range(5)),
        list(range(5, 10)),
        list(range(10, 15)),
        list(range(15, 25)),
    ]


def test_pictures_that_no_label_names_leave_gaps_and_move_no_other():
    folders = ["a", "b"] * 15
    folders[8] = folders[29] = "c"  # one of them in the gates' share, one in the report's: no share decides for itself
    everything, told = pictures(folders), []
    silent = type("Told", (Silent,), {"step": lambda self, text: told.append(text)})()
    shares = share_out(everything, named_places(typed_labels("1\tx\na,b\ty\n", "the list"), everything.folders, silent))
    assert shares.ranges.images.ravel().tolist() == list(range(6))
    assert shares.gates.images.ravel().tolist() == [6, 7, 9, 10, 11]
    assert shares.thresholds.images.ravel().tolist() == list(range(12, 18))
    assert shares.report.names == tuple(map(str, range(18, 29)))
    assert told == ["2 images left aside: they show what no label names"]
