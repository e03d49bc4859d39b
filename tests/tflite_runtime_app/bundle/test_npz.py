"""Arrays come back as numpy reads them; what is damaged, or would burst, is refused before it takes memory."""

import io
import resource
import zipfile

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.admission.fuzz_mutants import burst, header
from tflite_runtime_app.bundle import npz
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.bundle.npz import read_npz


def packed(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_as_numpy_reads_them(save):
    arrays = {
        "a": np.arange(6, dtype=np.float16).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        "c": np.array(["x", "yy"]),
        "d": np.array("text"),
        "f": np.array(["grün", "😀"], dtype=">U4"),
        "e": np.zeros((0, 4), np.int8),
    }
    buffer = io.BytesIO()
    save(buffer, **arrays)
    found = read_npz(buffer.getvalue(), arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_what_would_burst_is_refused_before_it_does():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="more than"):
        read_npz(burst(), ("vectors",))
    for shape in ("(1000000000000, 6)", "(4, 6000000000)"):
        with pytest.raises(ValueError, match="is stated as"):
            read_npz(packed(a=header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}") + bytes(48)), ("a",))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_what_is_no_plain_array_is_refused():
    good = labels_to_bytes(tiny_bundle.bank())
    assert set(read_npz(good, ("vectors", "names"))) == {"vectors", "names"}
    for content, message in (
        (good[:-30], "zip"),
        (b"", "zip"),
        (packed(b=b""), "lacks a"),
        (packed(a=b"no array"), "magic"),
        (packed(a=header("(" * 5000)), "."),
        (packed(a=header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + bytes(8)), "is stated as object"),
        (packed(a=header("{'descr': '<i4', 'fortran_order': False, 'shape': (-1, -1), }") + bytes(4)), "is stated as"),
        (packed(a=header("{'descr': '<U1', 'fortran_order': False, 'shape': (), }") + b"\0\0\x11\0"), "no letters"),
        (packed(a=header("{'descr': '>U2', 'fortran_order': False, 'shape': (1,), }") + b"\0\0\0a\0\0\xd8\0"), "no letters"),
        (packed(a=b"\x93NUMPY\x03\x00" + bytes(100)), "npy format"),
    ):
        with pytest.raises(ValueError, match=message) as refusal:
            read_npz(content, ("a",))
        assert len(str(refusal.value).splitlines()) == 1


def test_the_limit_is_the_stated_size(monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(2000, np.int8))
    with pytest.raises(ValueError, match="a takes 2128 bytes, more than 1000"):
        read_npz(buffer.getvalue(), ("a",))
