"""Tar and zip files alike: read in their order, with the labels of their folders; what is damaged, locked or absurd costs one line."""

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from calibration import archives
from calibration.archives import ArchiveError
from calibration.samples import count, left_out, load, samples
from tflite_runtime_app.bundle.manifest import Preprocessing

SMALL = Preprocessing(8, 8)


def image(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 10, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


ENTRIES = {
    "val/b/1.png": image(0),
    "val/a/0.PNG": image(1),
    "val/notes.txt": b"no",
    "__MACOSX/val/b/._1.png": b"\0\5\x16\7",
    "val/b/._1.png": b"\0\5\x16\7",
    "val/b/2.heic": b"x",
}


@pytest.fixture
def zipped(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("val/b")
        for name, content in ENTRIES.items():
            archive.writestr(name, content)
    return path


def test_a_zip_gives_what_a_tar_of_the_same_files_gives(tmp_path, zipped):
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for name, content in ENTRIES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    one, other = (load(samples([path]), SMALL) for path in (zipped, tmp_path / "photos.tar"))
    assert one.names == (f"{zipped}:val/b/1.png", f"{zipped}:val/a/0.PNG")
    assert one.folders == other.folders == ("b", "a")
    assert one.digest == other.digest
    assert one.skipped == other.skipped == ()
    np.testing.assert_array_equal(one.images, other.images)
    assert count([zipped, tmp_path / "photos.tar"]) == 4
    assert left_out([zipped]) == "1 .heic left out: pip install 'clip-rescue[heic]'"


def test_names_with_letters_of_their_own_and_of_windows(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("müll/1.png", image(0))
        archive.writestr("dog\\2.png", image(1))
    content = path.read_bytes().replace("müll".encode(), "müll".encode())
    for at in range(len(content) - 4):  # as macOS writes it: UTF-8 that does not say so
        if content[at : at + 4] in (b"PK\x03\x04", b"PK\x01\x02"):
            flags = at + (6 if content[at + 2] == 3 else 8)
            content = content[:flags] + b"\0\0" + content[flags + 2 :]
    path.write_bytes(content)
    assert [sample.folder for sample in samples([path])] == ["müll", "dog"]


def test_names_that_climb_out_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("../../up/1.png", image(0))
        archive.writestr("/root/2.png", image(1))
    before = sorted(tmp_path.rglob("*"))
    assert len(load(samples([tmp_path / "x.zip"]), SMALL)) == 2
    assert sorted(tmp_path.rglob("*")) == before


def changed(path, place: int, value: bytes) -> None:
    """The second member's fields in both of its headers, `place` as in the local one."""
    content = path.read_bytes()
    for sign, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.index(sign, content.index(sign) + 4 if sign == b"PK\x01\x02" else content.index(sign) + 30)
        content = content[: at + place + shift] + value + content[at + place + shift + len(value) :]
    path.write_bytes(content)


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", image(0))
        archive.writestr("a/2.png", image(1))
    return path


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (6, b"\1\0", "a/2.png: it is encrypted; unpack the zip with its password and name the folder"),
        (8, b"\x09\0", "a/2.png: it cannot be unpacked: "),  # Deflate64
        (14, b"\0\0\0\0", "a/2.png: it cannot be unpacked: Bad CRC-32"),
        (22, struct.pack("<I", 1 << 31), "a/2.png: expected at most 268435456 bytes, found 2147483648"),
    ],
    ids=["encrypted", "method", "damaged", "bomb"],
)
def test_a_member_that_cannot_be_had_is_left_out_in_one_line(two, place, value, said):
    changed(two, place, value)
    found = load(samples([two]), SMALL)
    assert found.names == (f"{two}:a/1.png",)
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith(f"{two}:{said}")
    assert "\n" not in found.skipped[0]


def test_more_than_an_image_takes_is_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(1001))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("a/1.png")
        entry.size = 1001
        tar.addfile(entry, io.BytesIO(bytes(1001)))
    for path in (tmp_path / "x.zip", tmp_path / "x.tar.gz"):
        assert load(samples([path]), SMALL).skipped == (f"{path}:a/1.png: expected at most 1000 bytes, found 1001",)


def test_a_name_of_several_lines_stays_on_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/two\nlines.png", b"broken")
    (said,) = load(samples([tmp_path / "x.zip"]), SMALL).skipped
    assert "two lines.png: expected an image" in said and "\n" not in said


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.xz"])
def test_an_archive_that_is_cut_short_says_so(tmp_path, form):
    path = tmp_path / f"x.{form}"
    with tarfile.open(path, f"w:{form[4:]}") as tar:
        for number in range(20):
            entry, content = tarfile.TarInfo(f"a/{number}.png"), np.random.default_rng(number).bytes(20_000)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    path.write_bytes(path.read_bytes()[:200_000])
    for ask in (lambda: load(samples([path]), SMALL), lambda: count([path])):
        with pytest.raises(ArchiveError, match=rf"^{path}: expected a whole tar or zip file, found: [^\n]*; make it again$"):
            ask()
    assert ArchiveError.exit_code == 3


def test_a_file_that_may_not_be_read_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(image(0))
    (tmp_path / "b.png").write_bytes(image(1))
    listed = samples([tmp_path])
    first = next(listed)
    (tmp_path / "b.png").unlink()  # gone between the listing and the reading
    found = load([first, *listed], SMALL)
    assert len(found) == 1
    assert found.skipped == (f"{tmp_path / 'b.png'}: it cannot be read: No such file or directory",)
