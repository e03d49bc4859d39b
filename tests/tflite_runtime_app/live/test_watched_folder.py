"""A folder that images are put into, under the test's own clock."""

import os

import pytest

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.live.watched_folder import WatchedFolder


class Time:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += max(seconds, 0.01)


@pytest.fixture
def place(tmp_path, picture):
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "old.png").write_bytes(picture.read_bytes())
    return folder


@pytest.fixture
def watched(place):
    clock = Time()
    return WatchedFolder(str(place), clock, clock.sleep)


def test_what_lay_there_before_is_left_alone_and_new_pictures_come_in_order(watched, place, picture):
    assert watched.next(5) is None
    for name in ("b.png", "a.JPG", "notes.txt"):
        (place / name).write_bytes(picture.read_bytes())
    frames = [watched.next(5) for _ in range(3)]
    assert [frame and os.path.basename(frame.source) for frame in frames] == ["a.JPG", "b.png", None]
    assert [frame.index for frame in frames[:2]] == [0, 1]
    assert frames[0].load().size == (30, 20)


def test_a_file_is_waited_for_until_it_is_whole(watched, place, picture):
    content = picture.read_bytes()
    path = place / "slow.png"
    for part in range(4):
        path.write_bytes(content[: (part + 1) * len(content) // 4])
        assert watched.next(0.5) is None, "it still grows"
    frame = watched.next(5)
    assert frame.load().size == (30, 20)
    assert watched.next(5) is None, "once"


def test_a_picture_that_is_written_over_comes_again(watched, place, picture):
    path = place / "now.png"
    for time in (1, 2):
        path.write_bytes(picture.read_bytes())
        os.utime(path, (time, time))
        assert watched.next(5).source == str(path)


def test_a_folder_that_goes_away_is_waited_for(watched, place, picture):
    place.rename(place.with_name("away"))
    assert watched.next(2) is None
    assert watched.health().state == "stalled"
    assert "inbox" in watched.health().error
    place.with_name("away").rename(place)
    (place / "new.png").write_bytes(picture.read_bytes())
    assert os.path.basename(watched.next(5).source) == "new.png"
    assert watched.health().state == "live"
    assert watched.next(5) is None, "what was known before is known still"


def test_a_folder_that_never_was_is_refused(tmp_path):
    with pytest.raises(SourceError, match="expected a folder"):
        WatchedFolder(str(tmp_path / "absent"))


def test_a_folder_that_cannot_be_read_is_told_at_once(place, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(SourceError, match=r"--watch .*inbox: Permission denied; give yourself the right"):
        WatchedFolder(str(place))


def test_links_that_lead_nowhere_or_to_themselves_hide_nothing(watched, place, picture):
    (place / "a-loop.png").symlink_to("a-loop.png")
    (place / "b-one.png").symlink_to("b-other.png")
    (place / "b-other.png").symlink_to("b-one.png")
    (place / "c-nowhere.png").symlink_to("nothing")
    (place / "d-folder.png").symlink_to(".")
    for name in ("A.png", "bb.png", "z.png"):
        (place / name).write_bytes(picture.read_bytes())
    frames = [watched.next(5) for _ in range(4)]
    assert [frame and os.path.basename(frame.source) for frame in frames] == ["A.png", "bb.png", "z.png", None]
    assert watched.health().state == "live"
    assert watched.health().error == ""


def test_a_folder_with_a_link_to_itself_from_the_beginning_is_watched(place, picture):
    (place / "a-loop.png").symlink_to("a-loop.png")
    clock = Time()
    watched = WatchedFolder(str(place), clock, clock.sleep)
    (place / "new.png").write_bytes(picture.read_bytes())
    assert os.path.basename(watched.next(5).source) == "new.png"
    assert watched.next(5) is None, "what lay there before is known still"


def test_after_the_end_nothing_comes(watched, place, picture):
    watched.close()
    (place / "new.png").write_bytes(picture.read_bytes())
    assert watched.next(5) is None
    assert watched.health().state == "ended"
