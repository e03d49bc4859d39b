"""A JPEG without its end marker is taken when all its pixels are there, and refused when some are missing: board and calibration alike."""

import io

import numpy as np
import pytest
from PIL import Image

from calibration.samples import Sample, load
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.jpeg_end import with_end
from tflite_runtime_app.inference.preprocess import image_of, image_to_tensor, load_image
from tflite_runtime_app.live.decode import decoded
from tflite_runtime_app.sources.base import Frame, Shot

KINDS = {
    "baseline": {},
    "optimized": {"optimize": True},
    "full colour": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 4},
    "progressive": {"progressive": True},
    "coarse progressive": {"progressive": True, "quality": 30},
}
HEIGHT, WIDTH = 77, 101


def pixels() -> np.ndarray:
    """Smooth hills with a little noise, as of a photograph."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    hills = [128 + 90 * np.sin(x / (9 + k)) * np.cos(y / (7 + 2 * k)) for k in range(3)]
    noise = np.random.default_rng(2).normal(0, 6, (HEIGHT, WIDTH, 3))
    return np.clip(np.stack(hills, -1) + noise, 0, 255).astype(np.uint8)


def jpeg(array: np.ndarray | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels() if array is None else array).save(buffer, "JPEG", **{"quality": 85, **options})
    assert buffer.getvalue().endswith(b"\xff\xd9")
    return buffer.getvalue()


def array_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colours", ["colour", "grey", "white below"])
def test_all_pixels_are_there_without_the_end(kind, colours):
    array = pixels()
    if colours == "grey":
        array = array[..., 0]
    if colours == "white below":  # whose last codes are hardly any bits
        array[HEIGHT // 2 :] = 255
    whole = jpeg(array, **KINDS[kind])
    for cut in (whole[:-1], whole[:-2]):
        np.testing.assert_array_equal(array_of(with_end(cut)), array_of(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_cut_off_from_the_pixels_is_missed(kind):
    whole = jpeg(**KINDS[kind])
    full, taken = array_of(whole), []
    for end in [*range(300, len(whole) - 40, 61), *range(len(whole) - 40, len(whole) - 2)]:
        for filled in (b"", b"\0" * 4096):  # a copy that was cut off may be filled up
            mended = with_end(whole[:end] + filled)
            if mended is not None:
                taken.append(len(whole) - end)
                np.testing.assert_array_equal(array_of(mended), full)
    assert not [missing for missing in taken if missing > 8], "a code that is cut in its last bits may read the same"


def test_a_progressive_file_that_lacks_whole_scans_is_missed():
    whole = jpeg(progressive=True)
    scans = [at for at in range(len(whole)) if whole.startswith(b"\xff\xc4", at)]
    assert len(scans) > 5
    assert [with_end(whole[:at]) for at in scans] == [None] * len(scans)


def test_what_has_its_end_or_is_no_jpeg_is_not_mended():
    whole = jpeg()
    for content in (whole, whole + b"more", b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xda", b"\x89PNG", whole[:30], whole[:2] * 500):
        assert with_end(content) is None


def test_files_calibration_and_streams_take_it_and_refuse_rows_that_are_missing(tmp_path):
    whole, shape = jpeg(), Preprocessing(16, 16)
    (tmp_path / "open.jpg").write_bytes(whole[:-2])
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    expected = image_to_tensor(image_of(whole, "whole"), shape)
    found = load([Sample("open", "a", whole[:-2]), Sample("cut", "a", whole[: len(whole) // 2])], shape)
    np.testing.assert_array_equal(found.images, expected)
    assert len(found.skipped) == 1 and "cut: " in found.skipped[0] and "truncated" in found.skipped[0]
    np.testing.assert_array_equal(image_to_tensor(load_image(tmp_path / "open.jpg"), shape), expected)
    with Image.open(tmp_path / "open.jpg") as image:
        np.testing.assert_array_equal(image_to_tensor(Frame.of(image).load(), shape), expected)
    np.testing.assert_array_equal(np.asarray(decoded(Shot("jpeg", 0, 0, whole[:-2], 0), "cam")), array_of(whole))
    with pytest.raises(SourceError, match=r"cut\.jpg: .*truncated"):
        load_image(tmp_path / "cut.jpg")
    with pytest.raises(SourceError, match=r"cam: frame 3 is broken and left out: .*truncated"):
        decoded(Shot("jpeg", 0, 0, whole[: len(whole) // 2], 3), "cam")


def test_it_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = jpeg(exif=exif)
    np.testing.assert_array_equal(np.asarray(image_of(whole[:-2], "open")), np.asarray(image_of(whole, "whole")))
