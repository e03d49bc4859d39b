"""Labels at run time: every way to name them, files that change under the program's feet, and what is said when it cannot be done."""

import dataclasses
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.sinks.web.label_text import label_text
from tflite_runtime_app.text import vectors
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.file import read_text
from tflite_runtime_app.text.label_source import LabelSource
from tflite_runtime_app.text.tower import TextTower


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bundle(bundle_path):
    return read_bundle(bundle_path)


@pytest.fixture
def bare(tmp_path, tiny):
    return read_bundle(tiny_bundle.write(tmp_path / "bare.tflite", tiny))


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_tower(monkeypatch):
    """Nothing may be embedded from here on."""

    def refuse(*_):
        raise AssertionError("the text tower was loaded")

    monkeypatch.setattr(vectors, "TextTower", refuse)


def write_bank(path: Path, names=("Newt", "heron", "red kite"), **facts) -> Path:
    path.write_bytes(labels_to_bytes(tiny_bundle.bank(names, **facts)))
    return path


def rewrite(path: Path, text: str) -> None:
    """Written so that it shows, however coarse the file system's clock."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def settled(source: LabelSource, clock: Clock):
    """What the source says once a change is at rest and has been read; None when there was none."""
    found = None
    for _ in range(2):
        clock.now += 1.1
        found = source.changed() or found
    return read_through(source) or found


def read_through(source: LabelSource):
    """What comes of the reading under way, None when there is none."""
    while source._reading is not None:
        assert source._reading.done.wait(20)
        if (found := source.changed()) is not None:
            return found
    return None


def told(call, *arguments) -> str:
    with pytest.raises(LabelError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_options_the_bundles_own(bundle, bare, cache):
    assert LabelSource(bundle, cache=cache).read() is bundle.labels
    assert "convert labels" in told(LabelSource(bare, cache=cache).read)


def test_a_label_matrix(bundle, tmp_path, cache):
    path = write_bank(tmp_path / "b.npz")
    assert LabelSource(bundle, str(path), cache=cache).read().names == ("Newt", "heron", "red kite")
    other = write_bank(tmp_path / "o.npz", space_id="another")
    assert "convert labels" in told(LabelSource(bundle, str(other), cache=cache).read)
    assert "no such file" in told(LabelSource(bundle, str(tmp_path / "absent.npz"), cache=cache).read)


def test_names_out_of_the_bundles_own_labels(bundle, cache):
    found = LabelSource(bundle, "Red Fox, cat", cache=cache).read()
    assert found.names == ("Red Fox", "cat")
    np.testing.assert_array_equal(found.vectors, bundle.labels.vectors[[3, 0]])
    assert (found.space_id, found.templates) == (bundle.labels.space_id, bundle.labels.templates)


def test_names_of_other_things_that_the_bundle_has_are_ready_if_they_were_made_alike(bundle, cache, no_tower):
    own = bundle.labels
    others = tiny_bundle.bank(("Heron", own.names[0]))
    with_others = dataclasses.replace(bundle, background=dataclasses.replace(others, templates=own.templates))
    found = LabelSource(with_others, f"{own.names[0]}, heron", cache=cache).read()
    np.testing.assert_array_equal(found.vectors, [own.vectors[0], others.vectors[0]])
    made_otherwise = dataclasses.replace(others, templates=("a drawing of a {}",))
    with pytest.raises((LabelError, AssertionError)):
        LabelSource(dataclasses.replace(bundle, background=made_otherwise), "heron", cache=cache).read()


def test_names_out_of_a_bank_whatever_their_case(bundle, tmp_path, cache):
    bank = write_bank(tmp_path / "b.npz")
    (tmp_path / "names.txt").write_text("n1\tHERON, wader\nnewt\ncat\n")
    found = LabelSource(bundle, str(tmp_path / "names.txt"), str(bank), cache=cache).read()
    assert found.names == ("HERON", "newt", "cat")
    # The third is not in the bank, but among the bundle's labels, made with the same templates.
    expected = [tiny_bundle.bank(("Newt", "heron", "red kite")).vectors[k] for k in (1, 0)] + [bundle.labels.vectors[0]]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-3)


def test_what_is_missing_is_named_and_what_is_near(bundle, tmp_path, cache):
    bank = write_bank(tmp_path / "b.npz")
    source = LabelSource(bundle, "herons, zzz, newt", str(bank), cache=cache)
    said = told(source.read)
    assert "no vectors for herons (near: heron), zzz;" in said
    assert "convert text" in said
    assert str(text_path(bundle.path)) in said
    many = told(LabelSource(bundle, ", ".join(f"thing {k}" for k in range(9)), cache=cache).read)
    assert "thing 4 and 4 more" in many


def test_any_name_at_all_with_the_text_tower_beside(bundle, cache):
    path = tiny_text.write(text_path(bundle.path))
    found = LabelSource(bundle, "a red mug, cat, my desk", cache=cache).read()
    tower = TextTower(read_text(path))
    made = tower.label_vectors(["a red mug", "my desk"], bundle.labels.templates)
    np.testing.assert_allclose(found.vectors, [made[0], bundle.labels.vectors[0], made[1]], atol=1e-3)
    assert found.templates == bundle.labels.templates


@pytest.mark.parametrize(
    "name", ["caf\u00e9\u00a0noir", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "thé\u202fvert", "می\u200cخواهم", "❤️\u200d🔥"]
)
def test_a_name_with_odd_spaces_or_joiners_is_taken(bundle, cache, name):
    tiny_text.write(text_path(bundle.path))
    source = LabelSource(bundle, f"{name}, cat", cache=cache)
    assert source.read().names == (name, "cat")
    assert source.change(f"{name}\ndog").names == (name, "dog")
    assert LabelSource(bundle, name, cache=cache).read().names == (name,), "out of the cache"


@pytest.mark.parametrize("name", ["🏴\U000e0067\U000e007f", "soft\u00adhyphen", "\u2066dog"])
def test_a_name_with_what_nobody_sees_is_refused_by_its_own_name(bundle, cache, name):
    for read in (LabelSource(bundle, f"{name}, cat", cache=cache).read, lambda: LabelSource(bundle).change(f"{name}\ncat")):
        with pytest.raises(LabelError, match=r"^(--labels|the list, line 1): expected printable characters") as refusal:
            read()
        assert "labels.npz" not in str(refusal.value)


def test_names_with_commas_come_to_the_loop_as_they_are(bundle, cache):
    tiny_text.write(text_path(bundle.path))
    assert LabelSource(bundle, '"a red mug, half full", cat', cache=cache).read().names == ("a red mug, half full", "cat")
    text = label_text(b'{"text": "\\"a red mug, half full\\"\\ncat"}')
    assert LabelSource(bundle, cache=cache).change(text).names == ("a red mug, half full", "cat")


def test_a_bundle_without_labels_takes_the_towers_templates(bare, tmp_path, cache):
    path = tiny_text.write(tmp_path / "elsewhere.tflite")
    found = LabelSource(bare, "a red mug", text=str(path), cache=cache).read()
    assert found.templates == tiny_text.TEMPLATES
    made = TextTower(read_text(path)).label_vectors(["a red mug"], tiny_text.TEMPLATES)
    np.testing.assert_allclose(found.vectors, made, atol=1e-3)


def test_a_second_run_embeds_nothing(bundle, cache, request):
    tiny_text.write(text_path(bundle.path))
    first = LabelSource(bundle, "a red mug, my desk", cache=cache).read()
    request.getfixturevalue("no_tower")
    again = LabelSource(bundle, "my desk, a red mug", cache=cache).read()
    np.testing.assert_array_equal(again.vectors, first.vectors[::-1])
    with pytest.raises(AssertionError, match="loaded"):  # the block works
        LabelSource(bundle, "another", cache=cache).read()


def test_another_models_tower_is_refused(bundle, cache):
    tiny_text.write(text_path(bundle.path), space_id="another")
    assert "convert text BUNDLE" in told(LabelSource(bundle, "a red mug", cache=cache).read)


def test_a_broken_tower_is_a_label_error(bundle, cache):
    path = tiny_text.write(text_path(bundle.path))
    path.write_bytes(path.read_bytes()[:-5])
    assert "truncated or altered" in told(LabelSource(bundle, "a red mug", cache=cache).read)


def test_options_that_make_no_sense(bundle, tmp_path, cache):
    assert "--bank" in told(lambda: LabelSource(bundle, bank="b.npz", cache=cache))
    assert "no such file" in told(lambda: LabelSource(bundle, "cat", text=str(tmp_path / "absent"), cache=cache))
    assert "no such file" in told(lambda: LabelSource(bundle, "absent.txt", cache=cache))
    assert "names no label" in told(LabelSource(bundle, " , ", cache=cache).read)
    assert LabelSource(bundle, ",".join(["cat"] + [" "] * 5000), cache=cache).read().names == (
        "cat",
    )  # longer than a file name may be


def test_a_file_that_changes_is_read_again_once_it_is_at_rest(bundle, tmp_path, cache):
    path, clock = tmp_path / "names.txt", Clock()
    path.write_text("cat\n")
    source = LabelSource(bundle, str(path), cache=cache, clock=clock)
    assert source.read().names == ("cat",)
    rewrite(path, "cat\ndog\n")
    assert source.changed() is None  # no second has passed
    clock.now = 1.5
    assert source.changed() is None  # changed, but perhaps still being written
    rewrite(path, "cat\ndog\nowl\n")
    clock.now = 2.6
    assert source.changed() is None  # and so it was
    clock.now = 3.0
    assert source.changed() is None
    clock.now = 3.7
    assert (source.changed() or read_through(source)).names == ("cat", "dog", "owl")
    assert settled(source, clock) is None


def test_a_broken_file_is_told_once_and_a_mended_one_taken(bundle, tmp_path, cache):
    path, clock = tmp_path / "names.txt", Clock()
    path.write_text("cat\n")
    source = LabelSource(bundle, str(path), cache=cache, clock=clock)

    for text, expected in (("cat\ncat\n", "more than once"), ("cat\nunheard of\n", "no vectors for unheard of")):
        rewrite(path, text)
        assert expected in told(settled, source, clock)
        assert settled(source, clock) is None
    path.unlink()
    assert "No such file" in told(settled, source, clock)  # a vanished file does not turn into a label of its own name
    assert settled(source, clock) is None
    rewrite(path, "dog\n")
    assert settled(source, clock).names == ("dog",)


def test_a_bank_that_changes_counts_too(bundle, tmp_path, cache):
    bank, clock = write_bank(tmp_path / "b.npz"), Clock()
    source = LabelSource(bundle, "newt", str(bank), cache=cache, clock=clock)
    before = source.read().vectors
    write_bank(bank, ("another", "newt"))
    assert not np.allclose(settled(source, clock).vectors, before)


def test_names_typed_in_while_it_runs(bundle, tmp_path, cache):
    path, clock = tmp_path / "names.txt", Clock()
    path.write_text("cat\n")
    source = LabelSource(bundle, str(path), cache=cache, clock=clock)
    assert source.change("owl, dog").names == ("owl", "dog")
    assert source.change("owl\nred fox").names == ("owl", "red fox")
    assert "the list names no label" in told(source.change, " ")
    rewrite(path, "cat\ndog\n")  # the file's word is newer
    assert settled(source, clock).names == ("cat", "dog")


class SlowTower:
    """A text tower that takes as long as the test wants."""

    go = threading.Event()

    def __init__(self, *_) -> None:
        pass

    def label_vectors(self, names, templates, done):
        assert SlowTower.go.wait(20)
        return tiny_bundle.bank(names).vectors


@pytest.fixture
def slow_tower(bundle, monkeypatch):
    tiny_text.write(text_path(bundle.path))
    monkeypatch.setattr(vectors, "TextTower", SlowTower)
    SlowTower.go.clear()
    yield SlowTower.go
    SlowTower.go.set()


def test_the_loop_goes_on_while_new_names_are_read(bundle, tmp_path, cache, slow_tower):
    path, clock = tmp_path / "names.txt", Clock()
    path.write_text("cat\n")
    source = LabelSource(bundle, str(path), cache=cache, clock=clock)
    rewrite(path, "cat\na red mug\n")
    for clock.now in (1.1, 2.2, 3.3, 4.4):
        start = time.perf_counter()
        assert source.changed() is None
        assert time.perf_counter() - start < 1
    slow_tower.set()
    assert read_through(source).names == ("cat", "a red mug")


def test_what_is_typed_in_later_counts_more_than_a_file_being_read(bundle, tmp_path, cache, slow_tower):
    path, clock = tmp_path / "names.txt", Clock()
    path.write_text("cat\n")
    source = LabelSource(bundle, str(path), cache=cache, clock=clock)
    rewrite(path, "cat\na red mug\n")
    for clock.now in (1.1, 2.2):
        assert source.changed() is None
    threading.Timer(0.2, slow_tower.set).start()
    assert source.change("owl").names == ("owl",)  # waits for the reading: one text tower at a time
    assert settled(source, clock) is None


def test_slow_work_is_told(bundle, cache, monkeypatch):
    tiny_text.write(text_path(bundle.path))
    monkeypatch.setattr(vectors, "SLOW", 0.0)
    lines: list[str] = []
    LabelSource(bundle, "one, two, three", cache=cache, tell=lines.append).read()
    assert lines == ["the text tower has read 1 of 3 labels", "the text tower has read 2 of 3 labels"]


def test_thousands_of_names_out_of_a_bank_take_no_time(bundle, tmp_path, cache):
    bank = write_bank(tmp_path / "b.npz", tuple(f"label {k}" for k in range(5000)))
    (tmp_path / "n.txt").write_text("\n".join(f"LABEL {k}" for k in range(0, 5000, 2)))
    start = time.perf_counter()
    assert len(LabelSource(bundle, str(tmp_path / "n.txt"), str(bank), cache=cache).read().names) == 2500
    assert time.perf_counter() - start < 5
    (tmp_path / "n.txt").write_text("\n".join(f"lable {k}" for k in range(300)))
    start = time.perf_counter()
    assert "near: label" in told(LabelSource(bundle, str(tmp_path / "n.txt"), str(bank), cache=cache).read)
    assert time.perf_counter() - start < 10
