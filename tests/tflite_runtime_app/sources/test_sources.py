"""Words on the command line become frames, each under its own path."""

import pytest

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sources import frames_of


@pytest.fixture
def folder(tmp_path, picture):
    place = tmp_path / "photos"
    (place / "deeper").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "notes.txt", "deeper/c.png"):
        (place / name).write_bytes(picture.read_bytes())
    (place / "folder.png").mkdir()
    return place


def test_one_image_is_read_late(picture):
    (frame,) = frames_of(str(picture))
    assert (frame.source, frame.index) == (str(picture), 0)
    assert frame.load().size == (30, 20)
    (absent,) = frames_of("absent.png")
    with pytest.raises(SourceError, match=r"absent\.png: no such file"):
        absent.load()


def test_a_folder_gives_its_images_sorted_and_not_those_below(folder):
    assert [frame.source for frame in frames_of(str(folder))] == [str(folder / "a.png"), str(folder / "b.JPG")]
    assert {frame.index for frame in frames_of(str(folder))} == {0}
    with pytest.raises(SourceError, match="folder with images"):
        list(frames_of(str(folder / "folder.png")))


def test_patterns(folder):
    assert [frame.source for frame in frames_of(str(folder / "*.png"))] == [str(folder / "a.png")]
    assert len(list(frames_of(str(folder / "**" / "*.png")))) == 2
    with pytest.raises(SourceError, match="pattern"):
        list(frames_of(str(folder / "*.webp")))


def test_a_file_whose_name_looks_like_a_pattern(folder, picture):
    odd = folder / "cat[1].png"
    odd.write_bytes(picture.read_bytes())
    assert [frame.source for frame in frames_of(str(odd))] == [str(odd)]
