"""The cache of label vectors: kept across restarts, bounded, and never in the way."""

import os

import numpy as np
import pytest

from tflite_runtime_app.files import cache_folder
from tflite_runtime_app.text import cache as module
from tflite_runtime_app.text.cache import LabelCache

TEMPLATES = ("a {}.",)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def cache(folder, digest: str = "d", templates=TEMPLATES, space: str = "s") -> LabelCache:
    return LabelCache(folder, digest, templates, space)


def test_a_restart_finds_the_same_vectors(tmp_path):
    first = cache(tmp_path)
    assert first.get(["cat"]) == {}
    first.add(["cat", "dog"], vectors(2))
    again = cache(tmp_path).get(["dog", "owl", "cat"])
    assert sorted(again) == ["cat", "dog"]
    for name, vector in first.get(["cat", "dog"]).items():
        np.testing.assert_array_equal(again[name], vector)  # to the bit: a restart must not move a threshold
    np.testing.assert_allclose(again["cat"], vectors(2)[0], atol=1e-3)


@pytest.mark.parametrize("other", [{"digest": "e"}, {"templates": ("the {}.",)}, {"space": "t"}])
def test_another_tower_or_other_templates_know_nothing_of_it(tmp_path, other):
    cache(tmp_path).add(["cat"], vectors(1))
    assert cache(tmp_path, **other).get(["cat"]) == {}


def test_a_broken_file_is_written_anew(tmp_path):
    cache(tmp_path).add(["cat"], vectors(1))
    (file,) = tmp_path.iterdir()
    for content in (b"", b"no zip", file.read_bytes()[:-30]):
        file.write_bytes(content)
        broken = cache(tmp_path)
        assert broken.get(["cat"]) == {}
        broken.add(["cat"], vectors(1))
        assert list(cache(tmp_path).get(["cat"])) == ["cat"]


def test_what_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    blocked = cache(tmp_path / "file" / "below")  # a folder that cannot be made, whoever runs the test
    blocked.add(["cat"], vectors(1))
    assert list(blocked.get(["cat"])) == ["cat"]


def test_two_processes_do_not_lose_each_others_names(tmp_path):
    one, two = cache(tmp_path), cache(tmp_path)
    one.add(["cat"], vectors(1, 1))
    two.add(["dog"], vectors(1, 2))
    assert sorted(cache(tmp_path).get(["cat", "dog"])) == ["cat", "dog"]


def test_bounded_in_names_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_NAMES", 5)
    for turn in range(7):
        kept = cache(tmp_path, digest=str(turn))
        kept.add([f"label {k}" for k in range(8)], vectors(8))
        assert len(kept.get([f"label {k}" for k in range(8)])) == 8  # this run needs them all
        for file in tmp_path.iterdir():
            os.utime(file, (file.stat().st_mtime - 10, file.stat().st_mtime - 10))
    assert len(list(tmp_path.iterdir())) == module.MOST_FILES
    assert sorted(cache(tmp_path, digest="6").get([f"label {k}" for k in range(8)])) == [f"label {k}" for k in range(3, 8)]
    assert cache(tmp_path, digest="0").get(["label 7"]) == {}


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("labels") == tmp_path / "clip-rescue" / "labels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("labels") == tmp_path / ".cache" / "clip-rescue" / "labels"
