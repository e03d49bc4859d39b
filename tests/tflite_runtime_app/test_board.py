"""Which board it is: the same at every start, another on every other board."""

import uuid

import pytest

from tflite_runtime_app.board import board_id

MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_it_is_the_machine_id_with_the_serial_number_that_a_copied_card_does_not_copy(root):
    put(root / "etc/machine-id", f"{MACHINE}\n")
    bare = board_id(root)
    found = []
    for serial in ("10000000aaaaaaaa", "10000000bbbbbbbb"):
        put(root / "proc/device-tree/serial-number", f"{serial}\0")
        found.append(board_id(root))
        assert board_id(root) == found[-1]
    assert len({bare, *found}) == 3
    assert all(MACHINE in each for each in (bare, *found))


@pytest.mark.parametrize("content", [None, "", "uninitialized\n", "0" * 32, "not an id"])
def test_without_a_machine_id_a_word_is_made_up_once_and_kept(root, tmp_path, content):
    if content is not None:
        put(root / "etc/machine-id", content)
    first = board_id(root)
    assert len(first) == 32
    assert board_id(root) == first
    kept = tmp_path / "cache/clip-rescue/board-id"
    assert kept.read_text() == first
    kept.unlink()
    assert board_id(root) != first


def test_a_service_keeps_it_in_its_state_folder(root, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path / 'state'}:/elsewhere")
    assert board_id(root) == (tmp_path / "state/board-id").read_text()


@pytest.mark.parametrize(("card", "counts"), [(0xB827EB123456, True), (0x0242AC110002, False), (0x010000000001, False)])
def test_where_nothing_can_be_kept_the_network_card_counts_if_it_is_one(root, tmp_path, monkeypatch, card, counts):
    put(tmp_path / "file", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(uuid, "getnode", lambda: card)
    assert (board_id(root) == f"{card:012x}") is counts
