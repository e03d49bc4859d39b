"""How images are shared out: drawn by the seed, class by class, equal ones once; and without those that show what no label names."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from calibration.choose import Aim
from calibration.samples import SampleSet, load, samples
from convert.calibrate.from_images import read_shares
from convert.calibrate.images import Shares, share_out
from convert.model.labels import named_places
from convert.support.errors import CalibrationError
from convert.support.images import load_images
from convert.support.progress import Silent
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.text.label_list import typed_labels

SMALL = Preprocessing(8, 8)


def pictures(folders, tensors=()):
    images = np.arange(len(folders), dtype=np.int8).reshape(-1, 1, 1, 1)
    return SampleSet(tuple(map(str, range(len(folders)))), tuple(folders), images, "digest", (), tuple(tensors))


def parts(shares: Shares) -> tuple[SampleSet, ...]:
    return shares.ranges, shares.gates, shares.thresholds, shares.report


def told() -> tuple[list[str], Silent]:
    lines: list[str] = []
    return lines, type("Told", (Silent,), {"step": lambda self, text: lines.append(text)})()


def test_every_share_has_its_part_of_every_class_of_a_sorted_folder():
    folders = [f"class {k // 10:02}" for k in range(200)]
    shares = share_out(pictures(folders), 0)
    assert [len(part) for part in parts(shares)] == [40, 40, 40, 80]
    assert sorted(np.concatenate([part.images.ravel() for part in parts(shares)]).view(np.uint8).tolist()) == list(range(200))
    for part, share in zip(parts(shares), (2, 2, 2, 4), strict=True):
        assert set(Counter(part.folders).values()) == {share}


def test_classes_of_few_images_and_one_folder_alone_are_spread_as_well():
    rare = share_out(pictures([f"class {k // 2:03}" for k in range(120)]), 0)
    for part in parts(rare):
        numbers = np.array([int(name) for name in part.names])
        assert abs(numbers.mean() - 59.5) < 15, "early and late classes alike"
    alone = share_out(pictures(["photos"] * 120), 0)
    for part in parts(alone):
        assert abs(np.array([int(name) for name in part.names]).mean() - 59.5) < 15


def test_the_first_images_of_a_share_are_of_many_classes():
    shares = share_out(pictures([f"class {k // 12:02}" for k in range(120)]), 0)
    assert len(set(shares.report.folders[:20])) >= 7


def test_the_seed_decides_and_nothing_else():
    folders = ["a", "b", "c"] * 20
    tensors = [bytes([k]) for k in range(60)]
    names = lambda set_, seed: [part.names for part in parts(share_out(set_, seed))]  # noqa: E731
    everything = pictures(folders, tensors)
    assert names(everything, 3) == names(everything, 3) != names(everything, 4)
    other = everything.chosen(np.random.default_rng(0).permutation(60).tolist())
    assert names(other, 3) == names(everything, 3), "as a tar in another order"


def test_images_may_be_cut_in_the_order_that_they_have():
    shares = share_out(pictures("a" * 25), 0, in_order=True)
    assert [part.images.ravel().tolist() for part in parts(shares)] == [
        list(range(5)),
        list(range(5, 10)),
        list(range(10, 15)),
        list(range(15, 25)),
    ]


@pytest.mark.parametrize("many", range(12))
def test_however_few_there_are_each_goes_to_one_share(many):
    found = [name for part in parts(share_out(pictures("a" * many), 1)) for name in part.names]
    assert sorted(found, key=int) == [str(k) for k in range(many)]
    assert len(share_out(pictures("a" * many), 1).ranges) >= min(many, 1)


@pytest.mark.parametrize("in_order", [False, True])
def test_pictures_that_no_label_names_go_to_no_share_but_the_ranges(in_order):
    folders = ["a", "b"] * 15
    folders[8] = folders[29] = "c"
    everything = pictures(folders)
    lines, progress = told()
    known = named_places(typed_labels("1\tx\na,b\ty\n", "the list"), everything.folders, progress)
    shares, without = (share_out(everything, 0, places, in_order) for places in (known, None))
    assert lines == ["2 images left aside: they show what no label names"]
    assert shares.ranges.names == without.ranges.names
    for part, all_of_it in zip(parts(shares)[1:], parts(without)[1:], strict=True):
        assert part.names == tuple(n for n, folder in zip(all_of_it.names, all_of_it.folders, strict=True) if folder != "c")


def test_equal_images_count_once_and_lie_in_one_share_only():
    shares = share_out(pictures(["a"] * 40, [bytes([k % 10]) for k in range(40)]), 0)
    assert sum(map(len, parts(shares))) == 10
    assert len({tensor for part in parts(shares) for tensor in part.tensors}) == 10


@pytest.fixture
def copies(tmp_path):
    """Three images, one of them a hundred times under other names, formats and notes."""
    for number in range(3):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8))
        image.save(tmp_path / f"{number}.png")
        for copy in range(50 if number == 0 else 0):
            image.save(tmp_path / f"copy{copy}.bmp")
            image.save(tmp_path / f"copy{copy}.png", compress_level=copy % 10)
    return tmp_path


def request(folder: Path, **changes: object) -> SimpleNamespace:
    given = {"images": (folder,), "model": SimpleNamespace(preprocessing=SMALL), "labels": typed_labels("a, b", "x"), "seed": 0}
    return SimpleNamespace(**{**given, "in_order": False, "policy": "ltt-lct", "aim": Aim(), **changes})


def test_copies_are_told_and_too_few_that_differ_are_refused(copies):
    lines, progress = told()
    found = load_images([copies], SMALL, progress)
    assert lines == ["103 images, of which 3 distinct"]
    assert len(found) == 103 and found.distinct() == [0, 1, 2]
    with pytest.raises(CalibrationError, match=r"103 readable images, 3 of them distinct \(0 broken\); .* at least 5"):
        read_shares(request(copies), Silent())


def test_what_so_few_images_cannot_show_is_told(tmp_path):
    for number in range(50):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{number}.png")
    lines, progress = told()
    shares = read_shares(request(tmp_path), progress)
    assert lines[-1] == (
        "every image will go to full depth: 10 distinct images for the thresholds cannot show that exits harm at most 2.0%, "
        "114 are the least; give 570 or more in all, or allow more by --risk"
    )
    assert len(shares.thresholds) == 10
    lines.clear()
    read_shares(request(tmp_path, aim=Aim(alpha=0.3)), progress)
    read_shares(request(tmp_path, policy="confidence"), progress)
    assert not any("full depth" in line for line in lines)


def test_broken_images_and_those_of_other_kinds_are_told(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"broken")
    (tmp_path / "b.heic").write_bytes(b"x")
    lines, progress = told()
    assert len(load_images([tmp_path], SMALL, progress)) == 0
    assert lines[0] == "1 .heic left out: pip install 'clip-rescue[heic]'"
    assert lines[1].startswith(f"1 broken images left out, the first: {tmp_path / 'a.jpg'}: expected an image")
    with pytest.raises(CalibrationError, match=r"0 readable images \(1 broken, the first: .*a\.jpg"):
        read_shares(request(tmp_path), Silent())
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(CalibrationError, match=r"0 readable images \(1 \.heic left out: pip install"):
        read_shares(request(tmp_path), Silent())


def test_chosen_images_take_hardly_any_memory_of_their_own(copies):
    found = load(samples([copies]), SMALL)
    part = found.chosen([2, 0])
    np.testing.assert_array_equal(part.images, found.images[[2, 0]])
    assert part.tensors == (found.tensors[2], found.tensors[0])
    with pytest.raises(ValueError, match="read-only"):
        part.images[0, 0, 0, 0] = 1
