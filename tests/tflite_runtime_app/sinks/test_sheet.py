"""The contact sheet: where each image lies, what stands below it, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.programs import python, run
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.inference.answer import Answer, Match
from tflite_runtime_app.sinks.base import Result
from tflite_runtime_app.sinks.drawing import ACCENT, PAPER
from tflite_runtime_app.sinks.sheet import COLUMNS, GAP, LINE, MOST, SIDE, SheetSink, _words

CAT = Answer((Match("cat", 0.9, 0.3), Match("dog", 0.1, 0.2)), none=False)


def result(image, answer=CAT, source="a/cat.jpg"):
    return Result(source, 0, answer, 1, 6, 12, 1000, 3.2, (1.0, 2.2), image)


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def has(picture, box, colour):
    wanted = np.array(Image.new("RGB", (1, 1), colour))[0, 0]
    return bool((np.asarray(picture.crop(box)) == wanted).all(-1).any())


def test_images_stand_side_by_side_whole_and_small_and_doubt_has_a_colour(tmp_path):
    sink = SheetSink(str(tmp_path / "sheet.png"))
    doubted = Answer((Match("cat", 0.3, 0.3), Match("dog", 0.28, 0.2)), none=False)
    for number in range(COLUMNS + 1):
        sink.result(result(Image.new("RGB", (400, 200), (number * 30, 90, 10)), doubted if number == 1 else CAT))
    sink.close()
    sheet = opened(tmp_path / "sheet.png")
    assert sheet.size == (COLUMNS * (SIDE + GAP) + GAP, 2 * (SIDE + 3 * LINE + GAP) + GAP)
    for number, (column, row) in enumerate([*((k, 0) for k in range(COLUMNS)), (0, 1)]):
        left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + 3 * LINE + GAP)
        assert sheet.getpixel((left + SIDE // 2, top + SIDE // 2)) == (number * 30, 90, 10)
        assert sheet.getpixel((left + SIDE // 2, top + 10)) == Image.new("RGB", (1, 1), PAPER).getpixel((0, 0)), (
            "a wide image is not cut"
        )
        words = (left, top + SIDE, left + SIDE, top + SIDE + LINE)
        assert has(sheet, words, ACCENT) == (number == 1)


def test_none_is_said_with_what_it_looks_like():
    assert _words(Answer(CAT.top, none=True, like="fountain")) == "none of these (fountain)"
    assert _words(Answer(CAT.top, none=True)) == "none of these"
    assert _words(CAT) == "cat 90%"


def test_a_sheet_has_an_end_and_nothing_seen_leaves_no_file(tmp_path):
    sink = SheetSink(str(tmp_path / "sheet.png"))
    sink.close()
    assert not list(tmp_path.iterdir())
    for _ in range(MOST + 5):
        sink.result(result(Image.new("RGB", (4, 4))))
    sink.close()
    rows = -(-MOST // COLUMNS)
    assert opened(tmp_path / "sheet.png").height == rows * (SIDE + 3 * LINE + GAP) + GAP + LINE, (
        "the line that says there are more"
    )


def test_what_is_no_png_or_has_no_folder_is_refused_before_anything_begins(tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.png"):
        SheetSink("sheet.jpg")
    with pytest.raises(UsageError, match="is no folder"):
        SheetSink(str(tmp_path / "no" / "sheet.png"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_command_draws_one_in_any_number_of_processes(tmp_path, bundle_path, picture, jobs):
    run("tflite_runtime_app", bundle_path, picture, picture, "--sheet", tmp_path / "s.png", "--jobs", jobs)
    assert opened(tmp_path / "s.png").width == 2 * (SIDE + GAP) + GAP


def test_a_live_source_is_refused(bundle_path):
    found = python("tflite_runtime_app", bundle_path, "raw:64x64", "--sheet", "s.png")
    assert found.returncode == 2
    assert "--sheet is for images that lie there" in found.stderr
