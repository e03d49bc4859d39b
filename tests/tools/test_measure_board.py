"""The figures around the model are made by the code that the board runs, beside the plain way."""

import tarfile

import numpy as np
from PIL import Image

from tflite_runtime_app.bundle.manifest import Preprocessing
from tools import measure_board


def test_photographs_are_counted_by_their_largest_difference(tmp_path, capsys):
    image = measure_board.photograph(320, 272)
    image.save(tmp_path / "a.jpg")
    (tmp_path / "b.txt").write_text("no image")
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
        tar.add(tmp_path / "b.txt", "b.txt")
    measure_board.differences([tmp_path / "some.tar"], Preprocessing(32, 32))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["at the model's size", "a 17th of its size"]
    assert all(line.split(": ")[1] in ("1 photographs 0 of 255 apart", "1 photographs 1 of 255 apart") for line in lines)


def test_the_plain_way_is_open_clips():
    image = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3))
    middle = np.asarray(image).astype(int)[:, 1:5] - 128
    np.testing.assert_array_equal(measure_board.plain(image, Preprocessing(4, 4))[0], middle)
