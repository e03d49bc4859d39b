"""Which files are images, by name and by content; what is left out is told by kind, with what to do."""

import importlib
import io
import os
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from calibration.samples import left_out as left_out_of_sources
from calibration.samples import samples
from tests.tflite_runtime_app.live.test_watched_folder import Time
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference import heif, image_kinds
from tflite_runtime_app.inference.preprocess import load_image
from tflite_runtime_app.live.watched_folder import WatchedFolder
from tflite_runtime_app.sources import frames_of, left_out_of

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
SEEN = np.random.default_rng(4).integers(0, 256, (24, 16, 3), np.uint8)


def encoded(kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(SEEN).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def without_heif(monkeypatch):
    monkeypatch.setattr(heif, "available", lambda: False)


@pytest.fixture
def telephone(tmp_path):
    """A folder as a telephone and two systems leave it."""
    place = tmp_path / "DCIM"
    for name in (
        "a.jfif",
        "b.JPE",
        "c.jfi",
        "d.avif",
        "IMG_1.HEIC",
        "IMG_2.heic",
        "e.DNG",
        "IMG_1.MOV",
        "._a.jpg",
        "._IMG_1.HEIC",
    ):
        path = place / name
        path.parent.mkdir(exist_ok=True)
        content = {"d.avif": encoded("AVIF"), "IMG_1.HEIC": HEIC}.get(name, encoded())
        path.write_bytes(b"\0\5\x16\7" + bytes(60) if name.startswith("._") else content)
    for name in (".DS_Store", "Thumbs.db"):
        (place / name).write_bytes(b"no image")
    return place


def test_a_telephones_folder_gives_what_can_be_read_and_tells_the_rest_by_kind(telephone):
    frames = list(frames_of(str(telephone)))
    assert [os.path.basename(frame.source) for frame in frames] == ["a.jfif", "b.JPE", "c.jfi", "d.avif"]
    assert {frame.load().size for frame in frames} == {(16, 24)}
    told = "1 .dng left out: convert to JPEG or PNG; 2 .heic left out: pip install 'clip-rescue[heic]'"
    assert left_out_of(str(telephone)) == f"{telephone}: {told}"
    assert left_out_of_sources([telephone]) == told, "calibration as well"
    assert [os.path.basename(sample.name) for sample in samples([telephone])] == ["a.jfif", "b.JPE", "c.jfi", "d.avif"]


def test_a_folder_of_heic_alone_says_what_to_install(tmp_path):
    for number in range(12):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(HEIC)
    with pytest.raises(SourceError, match=r"found none; 12 \.heic left out: pip install 'clip-rescue\[heic\]'$"):
        list(frames_of(str(tmp_path)))
    assert left_out_of(str(tmp_path)) == "", "said once"


def test_folders_below_that_hold_the_images_are_named(tmp_path):
    (tmp_path / "cats").mkdir()
    with pytest.raises(SourceError, match="found none; of its folders, as cats, name one"):
        list(frames_of(str(tmp_path)))


def test_what_systems_put_beside_images_is_no_image():
    for name in (
        "._a.jpg",
        "x/._a.jpg",
        "__MACOSX/x/a.jpg",
        "x/@eaDir/a.jpg",
        ".Trashes/a.jpg",
        ".DS_Store",
        "Thumbs.db",
        "x.txt",
    ):
        assert not image_kinds.is_image(name)
        assert image_kinds.left_out([name]) == ""
    assert image_kinds.is_image("x/.a.jpg")
    assert image_kinds.is_image(".thumbnails.jpg")


def test_a_watched_folder_tells_a_kind_once_and_counts_it_in_the_end(tmp_path):
    clock, told = Time(), []
    watched = WatchedFolder(str(tmp_path), clock, clock.sleep, told.append)
    for name in ("1.HEIC", "2.heic", "._3.jpg", "4.jpg"):
        (tmp_path / name).write_bytes(encoded())
    assert os.path.basename(watched.next(5).source) == "4.jpg"
    assert watched.next(5) is None
    remedy = "pip install 'clip-rescue[heic]'"
    assert told == [f"{tmp_path / '1.HEIC'} and others of its kind are left out: {remedy}"]
    watched.close()
    watched.close()
    assert told[1:] == [f"{tmp_path}: 2 .heic left out: {remedy}"]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("x.heic", HEIC, r"HEIC without its decoder: pip install 'clip-rescue\[heic\]'"),
        ("renamed.jpg", HEIC, r"HEIC without its decoder"),
        ("x.jpg", b"PK\x03\x04" + bytes(40), "a zip archive; unpack it and name the folder"),
        ("x.tar", bytes(257) + b"ustar" + bytes(300), "a tar archive; unpack it and name the folder"),
        ("._x.jpg", b"\0\5\x16\7" + bytes(60), "the second half of a file from macOS"),
        ("x.pdf", b"%PDF-1.7", "a PDF file; convert"),
        ("x.jxl", b"\xff\x0a" + bytes(9), "JPEG XL; convert"),
        ("x.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "another kind of file"),
        ("x.avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(50), "a broken file of the kind AVIF"),
        ("short", b"\xff", "another kind of file"),
    ],
)
def test_what_is_not_read_is_named_by_its_content(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"^[^\n]*{name}: expected an image \([^\n]*\), found[^\n]*{found}[^\n]*$"):
        load_image(tmp_path / name)


def test_a_zip_for_classify_says_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", encoded())
    (frame,) = frames_of(str(tmp_path / "photos.zip"))
    with pytest.raises(SourceError, match="found a zip archive; unpack it and name the folder"):
        frame.load()


def test_avif_is_told_where_pillow_has_no_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(image_kinds, "avif_available", lambda: False)
    assert image_kinds.left_out(["x.avif"]) == "1 .avif left out: pip install 'Pillow>=11.3'"
    assert ".avif" not in image_kinds.suffixes()
    (tmp_path / "x.avif").write_bytes(encoded("AVIF"))
    with pytest.raises(SourceError, match=r"found AVIF without its decoder: pip install 'Pillow>=11\.3'"):
        load_image(tmp_path / "x.avif")


def test_heic_is_read_where_its_decoder_is_installed(tmp_path, monkeypatch):
    """A stand-in for pillow-heif: it registers a format named HEIF, as the real one does."""
    from PIL import ImageFile

    class Heif(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            self._size, self._mode, self.tile = (16, 24), "RGB", []
            self.im = Image.fromarray(SEEN).im

    module = ModuleType("pillow_heif")
    module.register_heif_opener = lambda thumbnails: Image.register_open("HEIF", Heif, lambda head: head[4:12] == b"ftypheic")
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    monkeypatch.setattr(heif, "available", lambda: True)
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    for name in ("x.HEIC", "renamed.jpg"):
        (tmp_path / name).write_bytes(HEIC)
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "x.HEIC")), SEEN)
    assert len(list(frames_of(str(tmp_path)))) == 2
    assert image_kinds.left_out(["x.heic", "x.hif"]) == ""
    assert ".heic" in image_kinds.suffixes()


def test_whether_pillow_heif_is_there_is_asked_and_not_tried():
    importlib.reload(heif)
    assert heif.available() is (importlib.util.find_spec("pillow_heif") is not None)
    assert "pillow_heif" not in sys.modules
