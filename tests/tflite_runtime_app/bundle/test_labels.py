"""Label matrices: what is written is read again, and what is none is refused."""

import io

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.labels import check_space, labels_to_bytes, read_labels
from tflite_runtime_app.errors import LabelError


def npz(**changes) -> bytes:
    arrays = {
        "vectors": np.eye(2, 6, dtype=np.float16),
        "names": np.array(["cat", "dog"]),
        "templates": np.array(["a {}"]),
        "space_id": np.array("s"),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return buffer.getvalue()


def test_round_trip_by_path_and_by_bytes(tmp_path):
    bank = tiny_bundle.bank(("cat", "Grauhörnchen", "猫"))
    (tmp_path / "labels.npz").write_bytes(labels_to_bytes(bank))
    for source in (tmp_path / "labels.npz", labels_to_bytes(bank)):
        found = read_labels(source)
        assert (found.names, found.templates, found.space_id) == (bank.names, bank.templates, bank.space_id)
        assert found.vectors.dtype == np.float32
        np.testing.assert_allclose(found.vectors, bank.vectors, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)  # float16 alone would give 1e-4


def test_numpy_reads_it_without_pickle():
    with np.load(io.BytesIO(labels_to_bytes(tiny_bundle.bank())), allow_pickle=False) as arrays:
        assert sorted(arrays) == ["names", "space_id", "templates", "vectors"]
        assert arrays["vectors"].dtype == np.float16
        assert arrays["names"].tolist() == ["cat", "dog", "owl", "red fox"]


def test_the_same_bank_gives_the_same_bytes(monkeypatch):
    first = labels_to_bytes(tiny_bundle.bank())
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2040, 1, 1, 0, 0, 0, 0, 1, 0))
    assert labels_to_bytes(tiny_bundle.bank()) == first


def test_what_numpy_wrote_is_read():
    assert read_labels(npz()).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "label matrix"),
        (b"not a zip at all", "label matrix"),
        (npz()[:-30], "label matrix"),
        (npz(names=None), "lacks names"),
        (npz(names=np.array(["cat"])), "as many names"),
        (npz(names=np.array(["cat", ""])), "none empty"),
        (npz(names=np.array([1, 2])), "texts"),
        (npz(names=np.array(["cat", None], dtype=object)), "label matrix"),
        (npz(vectors=np.zeros((0, 6), np.float16), names=np.array([], dtype=np.str_)), "vectors"),
        (npz(vectors=np.ones(2, np.float16)), "vectors"),
        (npz(vectors=np.eye(2, 6, dtype=np.int8)), "vectors"),
        (npz(vectors=np.eye(2, 6, dtype=np.float16) * 2), "norm 2"),
        (npz(vectors=np.full((2, 6), np.nan, np.float16)), "norm nan"),
    ],
)
def test_what_is_no_label_matrix(data, message):
    with pytest.raises(LabelError, match=message):
        read_labels(data)


@pytest.mark.parametrize("name", ["c\nat", "cat\x1b[2J", "\ufeffcat", "left\u202eright"])
def test_names_that_no_screen_should_show(name):
    with pytest.raises(LabelError, match="control characters"):
        read_labels(npz(names=np.array([name, "dog"])))


def test_joiners_and_spaces_of_every_kind_belong_to_names():
    names = ("می‌خواهم", "👩‍🚒 at\u00a0work")
    assert read_labels(npz(names=np.array(names))).names == names


def test_an_array_file_and_a_missing_file(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    for name in ("x.npy", "absent.npz"):
        with pytest.raises(LabelError, match="convert labels"):
            read_labels(tmp_path / name)


def test_labels_of_another_space_or_width(tiny):
    check_space(tiny_bundle.bank(), tiny.manifest)
    for other in (tiny_bundle.bank(space_id="another"), tiny_bundle.bank(width=5)):
        with pytest.raises(LabelError, match=r"convert labels FILE --labels .* --out labels\.npz"):
            check_space(other, tiny.manifest)
