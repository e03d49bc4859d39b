"""Threads are trusted when they change nothing, and what was found is remembered."""

import numpy as np
import pytest

from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.policies import Never


@pytest.fixture
def bundle(bundle_path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_bundle(bundle_path)


class Faulty:
    """LiteRT as it was seen on emulated boards: on more than one thread one code in many is another one, now and then."""

    def __init__(self, engine, random):
        self._engine, self._random, self.signatures = engine, random, engine.signatures

    def invoke(self, signature, inputs):
        found = self._engine.invoke(signature, inputs)
        name = sorted(found)[0]
        codes = found[name].copy()
        codes.reshape(-1)[self._random.integers(codes.size)] += 1
        return {**found, name: codes}


def loader(faulty, loaded):
    random = np.random.default_rng(0)

    def load(bundle, threads):
        loaded.append(threads)
        cascade = load_cascade(bundle, 1, policy=Never())
        if faulty and threads > 1:
            cascade.engine = Faulty(cascade.engine, random)
        return cascade

    return load


def test_threads_that_change_nothing_are_used_and_asked_once(bundle):
    loaded = []
    assert valid_threads(bundle, 4, loader(False, loaded)) == (4, "")
    assert loaded == [1, 4, 4]
    assert valid_threads(bundle, 4, loader(True, loaded)) == (4, ""), "remembered"
    assert len(loaded) == 3


def test_threads_that_change_codes_are_not_used_and_every_notice_says_so(bundle):
    loaded = []
    for _ in range(2):
        threads, notice = valid_threads(bundle, 4, loader(True, loaded))
        assert threads == 1
        assert "one thread" in notice
    assert loaded == [1, 4], "the first difference is enough"
    assert valid_threads(bundle, 2, loader(False, loaded)) == (2, ""), "another number is another question"


def test_one_thread_is_never_in_question(bundle):
    assert valid_threads(bundle, 1, loader(True, [])) == (1, "")


def test_a_cache_that_cannot_be_written_or_is_damaged_is_no_fault(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    loaded = []
    for _ in range(2):
        assert valid_threads(bundle, 4, loader(False, loaded)) == (4, "")
    assert len(loaded) == 6
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    valid_threads(bundle, 4, loader(False, loaded))
    (mark,) = (tmp_path / "cache" / "clip-rescue" / "threads").iterdir()
    mark.write_bytes(b"\xff\xfe")
    assert valid_threads(bundle, 4, loader(True, loaded))[0] == 1


def test_this_machine_can_be_trusted(bundle):
    assert Classifier(bundle, 2).notice == ""
