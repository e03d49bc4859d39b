"""Words on the command line become frames, each under its own path."""

import os

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


def test_links_that_lead_in_circles_hide_nothing_and_double_nothing(folder, monkeypatch):
    (folder / "here").symlink_to(".")
    (folder / "deeper" / "up").symlink_to("..")
    (folder / "deeper" / "again").symlink_to("../deeper")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("nothing")
    assert [frame.source for frame in frames_of(str(folder))] == [str(folder / "a.png"), str(folder / "b.JPG")]
    assert [frame.source for frame in frames_of(str(folder / "**" / "*.png"))] == [
        str(folder / "a.png"), str(folder / "deeper" / "c.png"),
    ]  # fmt: skip
    assert len(list(frames_of(str(folder / "**")))) == 4
    assert len(list(frames_of(str(folder.parent / "ph*" / "**" / "**" / "?.png")))) == 2
    monkeypatch.chdir(folder)
    assert [frame.source for frame in frames_of("**/*.png")] == ["a.png", "deeper/c.png"]
    assert [frame.source for frame in frames_of("./**/c.png")] == ["./deeper/c.png"]


def test_a_link_to_a_folder_elsewhere_is_followed_and_hidden_folders_are_not(folder, tmp_path, picture):
    for name in ("elsewhere", "photos/.thumbnails", "photos/[1]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(picture.read_bytes())
    (folder / "card").symlink_to(tmp_path / "elsewhere")
    found = [frame.source for frame in frames_of(str(folder / "**" / "x.png"))]
    assert found == [str(folder / "[1]" / "x.png"), str(folder / "card" / "x.png")]


def test_a_folder_that_cannot_be_read_is_told_behind_the_others(folder, monkeypatch):
    real = os.listdir

    def listdir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    (folder / "closed").mkdir()
    monkeypatch.setattr(os, "listdir", listdir)
    frames = frames_of(str(folder / "**" / "*.png"))
    assert [next(frames).source for _ in range(2)] == [str(folder / "a.png"), str(folder / "deeper" / "c.png")]
    with pytest.raises(SourceError, match=r"cannot look into .*closed; the other images were looked at"):
        next(frames)
    with pytest.raises(SourceError, match=r"found none, and cannot look into .*closed; give yourself the right"):
        list(frames_of(str(folder / "closed" / "**" / "*.png")))


def test_a_file_whose_name_looks_like_a_pattern(folder, picture):
    odd = folder / "cat[1].png"
    odd.write_bytes(picture.read_bytes())
    assert [frame.source for frame in frames_of(str(odd))] == [str(odd)]
