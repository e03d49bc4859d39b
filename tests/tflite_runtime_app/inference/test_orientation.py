"""An image is looked at as it was seen, however the camera was held, on the board and in calibration alike."""

import io

import numpy as np
import pytest
from PIL import Image

from calibration.samples import Sample, load
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference.image_kinds import FORMATS, suffixes
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image, upright

ORIENTATION = 0x0112
# What a camera stored for each orientation, as operations on the upright image's array (rows, columns): EXIF 2.32, 4.6.4.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
SEEN = np.random.default_rng(4).integers(0, 256, (24, 16, 3), np.uint8)
SHAPE = Preprocessing(12, 12)


def stored(orientation: int, form: str) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    Image.fromarray(np.ascontiguousarray(STORED[orientation](SEEN))).save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_all_eight_orientations(tmp_path, orientation, form):
    path = tmp_path / "picture"
    path.write_bytes(stored(orientation, form))
    image = load_image(path)
    np.testing.assert_array_equal(np.asarray(image), SEEN)
    np.testing.assert_array_equal(np.asarray(upright(image)), SEEN, "turned a second time")
    expected = image_to_tensor(Image.fromarray(SEEN), SHAPE)
    np.testing.assert_array_equal(image_to_tensor(image, SHAPE), expected)
    calibrated = load([Sample("picture", "folder", path.read_bytes())], SHAPE)
    np.testing.assert_array_equal(calibrated.images, expected)


@pytest.mark.parametrize("orientation", STORED)
def test_photographs(tmp_path, orientation):
    path = tmp_path / "picture.jpg"
    path.write_bytes(stored(orientation, "JPEG"))
    found = np.asarray(load_image(path)).astype(int)
    assert found.shape == SEEN.shape
    assert np.abs(found - SEEN).max() < 12


def test_a_turned_palette_keeps_its_transparency(tmp_path):
    exif, image = Image.Exif(), Image.fromarray(SEEN).convert("P")
    exif[ORIENTATION] = 6
    image.save(tmp_path / "p.png", exif=exif, transparency=3)
    assert load_image(tmp_path / "p.png").info == {"transparency": 3}


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(SEEN).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "p.png")), SEEN)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage of some length",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\0\0\0\x01\0\x06",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x06sixsix\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f\0\0\0\0",
    ],
)
def test_broken_exif_of_a_sound_picture_is_passed_over(tmp_path, exif):
    for form in ("PNG", "JPEG", "WEBP"):
        path = tmp_path / f"p.{form}"
        Image.fromarray(SEEN).save(path, form, exif=exif)
        assert load_image(path).size == (16, 24)
        assert image_to_tensor(load_image(path), SHAPE).shape == (1, 12, 12, 3)


def test_kinds_of_picture_that_start_programs_are_not_opened(tmp_path):
    """Pillow hands EPS to Ghostscript."""
    assert "EPS" not in FORMATS
    path = tmp_path / "picture.jpg"
    Image.fromarray(SEEN).save(path, "EPS")
    with pytest.raises(SourceError, match="found another kind of file"):
        load_image(path)


def test_every_kind_that_folders_list_is_opened(tmp_path):
    forms = {".jfi": "JPEG", ".jif": "JPEG", ".avifs": "AVIF"}  # which Pillow does not know by their names
    modes = {".pgm": "L", ".pbm": "1"}
    for suffix in suffixes():
        path = tmp_path / f"image{suffix}"
        Image.fromarray(SEEN).convert(modes.get(suffix, "RGB")).save(path, forms.get(suffix))
        assert load_image(path).size == (16, 24), suffix


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "large.ppm"
    path.write_bytes(b"P6 10000 10000 255\n")  # a hundred megapixels: Pillow itself would only warn
    with pytest.raises(SourceError, match=r"large\.ppm: .*100000000 pixels"):
        load_image(path)


def test_a_picture_without_a_way_to_rgb_is_an_error_of_its_own():
    with pytest.raises(SourceError, match="mode La cannot be converted"):
        image_to_tensor(Image.new("La", (4, 4)), SHAPE)
