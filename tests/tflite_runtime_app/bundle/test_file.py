"""The bundle is read back as it was written, or refused before any of it is used."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle import container
from tflite_runtime_app.bundle import file as bundle
from tflite_runtime_app.bundle.digest import sha256_hex
from tflite_runtime_app.bundle.file import read_bundle, write_bundle
from tflite_runtime_app.bundle.manifest import to_json
from tflite_runtime_app.errors import BundleCorrupt, BundleError, BundleIncompatible, LabelError


def sealed(tiny, members, compression=zipfile.ZIP_STORED) -> bytes:
    """A file whose outer digest holds, whatever its members are: what a careful tool, not ours, might have written."""
    buffer = io.BytesIO(tiny.flatbuffer)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    data = buffer.getvalue()
    return data[:-64] + sha256_hex(data[:-64]).encode()


def fitting_manifest(tiny, members) -> str:
    digests = {name: sha256_hex(content) for name, content in members.items()}
    return to_json(replace(tiny.manifest, flatbuffer_sha256=sha256_hex(tiny.flatbuffer), members=digests))


def test_round_trip(tmp_path, tiny):
    members = {"report.json": b'{"cosine": 0.99}'}
    written = write_bundle(tmp_path / "a.tflite", tiny.flatbuffer, tiny.manifest, members)
    found = read_bundle(tmp_path / "a.tflite")
    assert found.flatbuffer == tiny.flatbuffer
    assert found.manifest == written
    assert written == replace(
        tiny.manifest,
        flatbuffer_sha256=sha256_hex(tiny.flatbuffer),
        members={"report.json": sha256_hex(members["report.json"])},
    )
    assert found.report == {"cosine": 0.99}
    assert found.labels is None


def test_labels_come_back(bundle_path):
    labels = read_bundle(bundle_path).labels
    assert labels is not None
    assert labels.names == tiny_bundle.bank().names


def test_the_same_parts_give_the_same_bytes(tmp_path, tiny):
    first = tiny_bundle.write(tmp_path / "a.tflite", tiny, tiny_bundle.bank()).read_bytes()
    assert tiny_bundle.write(tmp_path / "b.tflite", tiny, tiny_bundle.bank()).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tflite", "b.tflite"], "a temporary file was left"


def test_other_tools_read_it(bundle_path, tiny):
    with zipfile.ZipFile(bundle_path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "labels.npz", "report.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert min(info.header_offset for info in archive.infolist()) == len(tiny.flatbuffer)
        assert json.loads(archive.read("manifest.json"))["name"] == "tiny"
    signatures = Interpreter(model_path=str(bundle_path)).get_signature_list()
    assert sorted(signatures) == ["gate_0", "gate_1", "stage_0", "stage_1", "stage_2"]


def test_a_failed_write_leaves_the_old_file(bundle_path, tiny, monkeypatch):
    before = bundle_path.read_bytes()
    monkeypatch.setattr(bundle.os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_bundle(bundle_path, tiny.flatbuffer, replace(tiny.manifest, name="other"), {})
    assert bundle_path.read_bytes() == before
    assert [path.name for path in bundle_path.parent.iterdir()] == [bundle_path.name]


def test_a_flipped_bit_anywhere_is_found(tmp_path, bundle_path):
    data = bundle_path.read_bytes()
    path = tmp_path / "flipped.tflite"
    tail = len(data) - 500  # the zip's directory, end record and digest: every byte of them
    for position in [*range(0, tail, 17), *range(tail, len(data))]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(BundleCorrupt):
            read_bundle(path)


def test_a_file_cut_short_is_found(tmp_path, bundle_path):
    data = bundle_path.read_bytes()
    path = tmp_path / "short.tflite"
    for length in [*range(0, len(data), 97), *range(len(data) - 100, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(BundleError):
            read_bundle(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(BundleCorrupt):
        read_bundle(path)


def test_what_is_no_bundle(tmp_path, tiny):
    with pytest.raises(BundleCorrupt, match=r"no such file.*convert build"):
        read_bundle(tmp_path / "absent.tflite")
    path = tmp_path / "x"
    path.write_bytes(tiny.flatbuffer)
    with pytest.raises(BundleIncompatible, match="without a manifest"):
        read_bundle(path)
    path.write_bytes(b"PK\x03\x04 not a model, too short for an end record")
    with pytest.raises(BundleCorrupt, match="TFL3"):
        read_bundle(path)
    with pytest.raises(BundleCorrupt, match="readable file"):
        read_bundle(tmp_path)


def test_sealed_but_wrong(tmp_path, tiny):
    path = tmp_path / "sealed.tflite"
    report = {"report.json": b"{}"}
    a_list = {"report.json": b"[]"}
    good = {"manifest.json": fitting_manifest(tiny, report), **report}
    path.write_bytes(sealed(tiny, good))
    read_bundle(path)  # the helper's files are sound until something is changed
    cases = [
        (sealed(tiny, good, zipfile.ZIP_DEFLATED), BundleIncompatible, "compressed"),
        (sealed(tiny, {**good, "extra.txt": b""}), BundleIncompatible, r"extra\.txt"),
        (sealed(tiny, report), BundleCorrupt, r"manifest\.json"),
        (sealed(tiny, {}), BundleCorrupt, r"manifest\.json"),
        (sealed(tiny, {"manifest.json": good["manifest.json"]}), BundleCorrupt, "lists"),
        (sealed(tiny, {**good, "report.json": b"[]"}), BundleCorrupt, r"report\.json does not match"),
        (sealed(tiny, {**good, "manifest.json": to_json(tiny.manifest)}), BundleCorrupt, "lists"),
        (sealed(replace(tiny, flatbuffer=tiny.flatbuffer + b"\0"), good), BundleCorrupt, "the flatbuffer"),
        (sealed(tiny, {**good, "manifest.json": "{}"}), BundleIncompatible, "schema"),
        (sealed(tiny, {**good, "manifest.json": b"\xff"}), BundleIncompatible, "not JSON"),
        (sealed(tiny, {"manifest.json": fitting_manifest(tiny, a_list), **a_list}), BundleCorrupt, "object"),
    ]
    for data, kind, message in cases:
        path.write_bytes(data)
        with pytest.raises(kind, match=message):
            read_bundle(path)


def test_offsets_count_from_the_start_of_the_file(tmp_path, tiny):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", fitting_manifest(tiny, {}))
        archive.comment = b"0" * 64
    data = tiny.flatbuffer + buffer.getvalue()[:-64]
    path = tmp_path / "x.tflite"
    path.write_bytes(data + sha256_hex(data).encode())
    with pytest.raises(BundleIncompatible, match="offsets"):
        read_bundle(path)


def test_a_file_is_read_once_and_hashed_once(bundle_path, monkeypatch):
    content = container.appended(b"    TFL3" + bytes(1 << 20), {"a": b"b"})

    class Counted(io.BytesIO):
        taken = 0

        def read(self, *size):
            part = super().read(*size)
            self.taken += len(part)
            return part

    class Sha256:
        def __init__(self, data=b""):
            self.inner, self.taken = hashlib.sha256(data), len(data)
            hashed.append(self)

        def update(self, data):
            self.inner.update(data)
            self.taken += len(data)

        def hexdigest(self):
            return self.inner.hexdigest()

    file, hashed = Counted(content), []
    monkeypatch.setattr(container, "hashlib", SimpleNamespace(sha256=Sha256))
    parts = container.detached(file, bundle_path, ("a",), "")
    assert len(content) <= file.taken < len(content) * 1.2
    assert sum(one.taken for one in hashed) == len(content) - 64
    assert parts.flatbuffer_sha256 == sha256_hex(parts.flatbuffer)


def test_a_directory_may_list_members_in_any_order(tmp_path, tiny):
    report, buffer = {"report.json": b"{}"}, io.BytesIO()
    buffer.write(tiny.flatbuffer)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {"manifest.json": fitting_manifest(tiny, report), **report}.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
        archive.filelist.reverse()
    data = buffer.getvalue()[:-64]
    path = tmp_path / "x.tflite"
    path.write_bytes(data + sha256_hex(data).encode())
    assert read_bundle(path).flatbuffer == tiny.flatbuffer


def test_labels_of_another_space_in_the_bundle(tmp_path, tiny):
    path = tiny_bundle.write(tmp_path / "x.tflite", tiny, tiny_bundle.bank(space_id="another"))
    with pytest.raises(LabelError, match="another"):
        read_bundle(path)


def test_writing_refuses_what_reading_would(tmp_path, tiny):
    with pytest.raises(BundleIncompatible, match="TFL3"):
        write_bundle(tmp_path / "x", b"not a model", tiny.manifest, {})
    with pytest.raises(BundleIncompatible, match=r"a\.txt"):
        write_bundle(tmp_path / "x", tiny.flatbuffer, tiny.manifest, {"a.txt": b""})
    assert not list(tmp_path.iterdir())
