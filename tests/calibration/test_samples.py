"""Images from folders and tars: always in the same order, broken ones named, contents identified."""

import io
import tarfile

import numpy as np
import psutil
import pytest
from PIL import Image

from calibration.samples import Sample, count, load, pixels, samples
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.inference.preprocess import image_to_tensor

SMALL = Preprocessing(8, 8)


def picture(seed: int, size: tuple[int, int] = (10, 9), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Written in an order that is not theirs, with a file that is no image."""
    for name, seed in (("dog/2.png", 0), ("cat/9.PNG", 1), ("cat/10.png", 2), ("top.png", 3), ("cat/deep/1.jpeg", 4)):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed, kind="JPEG" if name.endswith("jpeg") else "PNG"))
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    return tmp_path / "pictures"


def tar(path, entries) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_a_folder_is_sorted_by_path_and_labels_are_parent_folders(folder):
    found = list(samples([folder]))
    assert [sample.name for sample in found] == [
        str(folder / name) for name in ("cat/10.png", "cat/9.PNG", "cat/deep/1.jpeg", "dog/2.png", "top.png")
    ]
    assert [sample.folder for sample in found] == ["cat", "cat", "deep", "dog", "pictures"]
    assert found[0].content == (folder / "cat/10.png").read_bytes()


def test_a_tar_keeps_its_own_order(tmp_path):
    entries = [("val/b/1.png", picture(0)), ("val/a/0.png", picture(1)), ("val/notes.txt", b"no"), ("val/b/0.JPG", picture(2))]
    tar(tmp_path / "x.tar", entries)
    found = list(samples([tmp_path / "x.tar"]))
    assert [sample.name for sample in found] == [f"{tmp_path / 'x.tar'}:{name}" for name, _ in entries if "notes" not in name]
    assert [sample.folder for sample in found] == ["b", "a", "b"]


def test_sources_come_in_the_order_given(tmp_path, folder):
    tar(tmp_path / "x.tar", [("z/1.png", picture(8))])
    single = folder / "top.png"
    names = [sample.name for sample in samples([single, tmp_path / "x.tar", folder])]
    assert names[:2] == [str(single), f"{tmp_path / 'x.tar'}:z/1.png"]
    assert len(names) == 7


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_compressed_tars(tmp_path, compression):
    path = tmp_path / f"x.tar.{compression}"
    with tarfile.open(path, f"w:{compression}") as archive:
        entry = tarfile.TarInfo("a/1.png")
        content = picture(0)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    assert [sample.folder for sample in samples([path])] == ["a"]


def test_a_source_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder, tar file, zip file or image"):
        list(samples([tmp_path / "nowhere"]))


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path):
    (tmp_path / "x" / "album.png").mkdir(parents=True)
    (tmp_path / "x" / "album.png" / "1.png").write_bytes(picture(0))
    assert [sample.folder for sample in samples([tmp_path / "x"])] == ["album.png"]


def test_loaded_as_the_board_does_it(folder):
    found = load(samples([folder]), SMALL)
    assert found.images.shape == (5, 8, 8, 3)
    assert found.images.dtype == np.int8
    assert len(found) == 5
    with Image.open(folder / "cat/10.png") as image:
        np.testing.assert_array_equal(found.images[0], image_to_tensor(image, SMALL)[0])
    assert found.skipped == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.png", b"this is no image"),
        ("cut.png", picture(1)[:60]),
        ("cut.jpg", picture(1, (64, 64), "JPEG")[:400]),
        ("empty.png", b""),
        ("strip.png", picture(1, (1, 90_000))),  # its shorter side brought to 70 pixels it would be half a gigapixel
    ],
)
def test_a_broken_picture_is_left_out_and_named(folder, name, content):
    (folder / "cat" / name).write_bytes(content)
    found = load(samples([folder]), Preprocessing(70, 70))
    assert len(found) == 5
    assert len(found.skipped) == 1
    assert str(folder / "cat" / name) in found.skipped[0]
    assert len(found.names) == len(found.folders) == len(found.images) == 5


def test_the_digest_tells_contents_and_order(tmp_path):
    def digest(*seeds: int, name: str = "x") -> str:
        path = tmp_path / f"{name}.tar"
        tar(path, [(f"a/{k}.png", picture(seed)) for k, seed in enumerate(seeds)])
        return load(samples([path]), SMALL).digest

    base = digest(0, 1, 2)
    assert digest(0, 1, 2, name="y") == base, "where the images lie does not matter"
    assert len({base, digest(0, 1), digest(0, 1, 3), digest(1, 0, 2), digest()}) == 5


def test_the_same_pictures_in_tar_and_folder_are_the_same_set(tmp_path, folder):
    names = ("cat/10.png", "cat/9.PNG", "cat/deep/1.jpeg", "dog/2.png", "top.png")
    tar(tmp_path / "x.tar", [(name, (folder / name).read_bytes()) for name in names])
    one, other = (load(samples([source]), SMALL) for source in (tmp_path / "x.tar", folder))
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.images, other.images)


def anonymous() -> int:
    """Bytes of this process's own memory, without what is mapped from files: those pages the system may drop at any time."""
    used = psutil.Process().memory_info()
    return used.rss - used.shared


def test_memory_does_not_grow_with_the_images():
    """2,000 images of 38 KB decoded: 75 MB if they were kept, 16 MB allowed."""
    content = [picture(seed, (112, 112), "BMP") for seed in range(8)]
    preprocessing = Preprocessing(112, 112)

    def items(number: int):
        return (Sample(f"{k}.bmp", "a", content[k % 8]) for k in range(number))

    few = load(items(16), preprocessing)
    before = anonymous()
    found = load(items(2000), preprocessing)
    assert found.images.nbytes == 2000 * 112 * 112 * 3
    total = sum(float(pixels(found.images[start : start + 50]).sum()) for start in range(0, 2000, 50))  # every page is read
    grown = anonymous() - before
    assert grown < 16e6, f"{grown / 1e6:.0f} MB more"
    assert total > 0
    np.testing.assert_array_equal(found.images[1992:], few.images[:8])


def test_images_live_as_long_as_an_array_shows_them(folder):
    part = load(samples([folder]), SMALL).part(1, 3)
    with Image.open(folder / "cat/9.PNG") as image:
        np.testing.assert_array_equal(part.images[0], image_to_tensor(image, SMALL)[0])
    with pytest.raises(ValueError, match="read-only"):
        part.images[0, 0, 0, 0] = 1


def test_pictures_are_counted_without_being_read(tmp_path, folder):
    tar(tmp_path / "x.tar", [("a/1.png", b"broken"), ("a/notes.txt", b"no"), ("b/2.jpg", picture(0))])
    sources = [folder, tmp_path / "x.tar", folder / "top.png"]
    assert count(sources) == len(list(samples(sources))) == 5 + 2 + 1
    assert count([tmp_path / "nowhere"]) == 0


def test_parts(folder):
    found = load(samples([folder]), SMALL)
    first, rest = found.part(0, 2), found.part(2, None)
    assert first.names + rest.names == found.names
    np.testing.assert_array_equal(np.concatenate([first.images, rest.images]), found.images)
    assert len({found.digest, first.digest, rest.digest}) == 3


def test_nothing_to_load():
    found = load([], SMALL)
    assert len(found) == 0
    assert found.images.shape == (0, 8, 8, 3)


def test_pixels_are_bytes_over_255():
    codes = np.arange(-128, 128, dtype=np.int8)
    np.testing.assert_allclose(pixels(codes), np.arange(256) / 255, atol=1e-7)
    assert pixels(codes).dtype == np.float32
