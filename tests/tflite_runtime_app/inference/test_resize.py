"""The quick ways to a tensor give what the plain one gives, to one code: decode all, resize all, cut the middle out."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.inference import smaller
from tflite_runtime_app.inference.preprocess import image_of, image_to_tensor, to_rgb
from tflite_runtime_app.inference.view import View
from tflite_runtime_app.live.decode import decoded
from tflite_runtime_app.sources.base import Frame, Shot

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
BICUBIC, BILINEAR, SQUASH = (
    Preprocessing(16, 16),
    Preprocessing(16, 16, interpolation="bilinear"),
    Preprocessing(16, 20, "squash"),
)
OBLONG = Preprocessing(16, 24)


def plain(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """The tensor as open_clip's transform makes it, step by step."""
    rgb, height, width = to_rgb(image), preprocessing.height, preprocessing.width
    kernel = RESAMPLING[preprocessing.interpolation]
    if preprocessing.resize_mode == "squash":
        cropped = rgb.resize((width, height), kernel)
    else:
        if height != width:
            ratio = min(rgb.height / height, rgb.width / width)
            size, kernel = (round(rgb.width / ratio), round(rgb.height / ratio)), Image.Resampling.BICUBIC
        elif rgb.width <= rgb.height:
            size = (width, int(width * rgb.height / rgb.width))
        else:
            size = (int(height * rgb.width / rgb.height), height)
        resized = rgb.resize(size, kernel)
        left, top = round((resized.width - width) / 2.0), round((resized.height - height) / 2.0)
        cropped = resized.crop((left, top, left + width, top + height))
    return (np.asarray(cropped).astype(int) - 128)[np.newaxis]


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Soft shapes of every size with the grain of a sensor, as photographs have them."""
    random, total = np.random.default_rng(seed), np.full((height, width, 3), 125.0, np.float32)
    for part, strength in ((1, 40), (4, 25), (16, 15)):
        shape = (max(2, part * height // max(width, height) + 2), max(2, part * width // max(width, height) + 2), 3)
        small = np.clip(128 + strength * random.normal(size=shape), 0, 255).astype(np.uint8)
        total += np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128
    total += random.normal(scale=4, size=total.shape)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


SIZES = [
    (640, 481), (481, 640), (1024, 512), (517, 777), (767, 1021), (640, 480),
    (1201, 67), (61, 907), (333, 517), (1023, 769), (16, 16), (17, 16), (5, 3), (1, 1), (1, 40),
]  # fmt: skip


@pytest.mark.parametrize("preprocessing", [BICUBIC, BILINEAR, SQUASH, OBLONG], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_resizing_a_part_is_resizing_the_whole(size, preprocessing):
    image = picture(*size)
    assert np.abs(image_to_tensor(image, preprocessing) - plain(image, preprocessing)).max() <= 1


@pytest.mark.parametrize("size", [(640, 480), (387, 267), (267, 387), (100, 100), (12, 700)])
def test_a_small_image_is_resized_to_the_bit_as_the_workstation_does_it(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    np.testing.assert_array_equal(image_to_tensor(image, Preprocessing(84, 84)), plain(image, Preprocessing(84, 84)))


FILES = {
    "plain": (picture(1024, 768), {}, 4),
    "squashed": (picture(1024, 768, seed=12), {}, 4),
    "an eighth": (picture(1600, 1024, seed=1), {}, 8),
    "without subsampling": (picture(768, 1024, seed=2), {"subsampling": 0}, 4),
    "progressive": (picture(1024, 768, seed=3), {"progressive": True}, 4),
    "grey": (picture(1024, 768, "L", seed=4), {}, 4),
    "panorama": (picture(2048, 256, seed=5), {}, 2),
    "lying": (picture(1024, 768, seed=6), {"exif": turned(6)}, 4),
    "mirrored": (picture(1024, 768, seed=7), {"exif": turned(7)}, 4),
    "of odd sides": (picture(1023, 769, seed=8), {}, 1),
    "of even sides": (picture(1022, 770, seed=8), {}, 2),
    "in inks": (picture(512, 512, "CMYK", seed=9), {}, 1),
    "small": (picture(200, 150, seed=10), {}, 1),
    "coarse": (picture(1024, 768, seed=11), {"quality": 60}, 4),
}


@pytest.mark.parametrize("name", FILES)
def test_a_jpeg_decoded_smaller_gives_the_same_tensor(name):
    image, options, scale = FILES[name]
    content, preprocessing = jpeg(image, **options), SQUASH if name == "squashed" else BICUBIC
    whole, small = image_of(content, "whole"), image_of(content, "small", smaller.least_side(BICUBIC))
    assert tuple(side * scale for side in small.size) == whole.size
    expected = plain(whole, preprocessing)
    assert np.abs(image_to_tensor(small, preprocessing) - expected).max() <= 1
    assert np.ptp(expected) > 20  # it shows something


def test_what_is_no_jpeg_is_decoded_whole(tmp_path):
    picture(1024, 768).save(tmp_path / "a.png")
    assert Frame.of(tmp_path / "a.png").smaller(128).size == (1024, 768)


def broken() -> dict[str, bytes]:
    whole = jpeg(FILES["plain"][0])
    half = len(whole) // 2
    return {
        "cut": whole[:half],
        "cut early": whole[:700],
        "cut before its end": whole[:-40],
        "of a header": whole[:300],
        "with a hole": whole[:half] + bytes(200) + whole[half + 200 :],
        "with a marker": whole[:half] + b"\xff\xc4\x00\x03" + whole[half + 4 :],
    }


@pytest.mark.parametrize("name", broken())
def test_broken_ones_are_refused_in_the_same_words(name):
    said = []
    for least in (0, 128):
        try:
            said.append(str(image_of(broken()[name], "it", least).width > 0))
        except SourceError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert name in ("with a hole", "with a marker") or said[0].startswith("it: expected an image")


def test_one_without_its_end_marker_is_read_whole():
    content = jpeg(FILES["plain"][0])
    found = image_of(content[:-2], "it", 128)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image_of(content, "it")))


def test_too_many_pixels_are_refused_before_any_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(), pytest.raises(SourceError, match="decompression bomb"):
        warnings.simplefilter("ignore")
        image_of(jpeg(FILES["plain"][0]), "it", 128)


def test_frames_of_a_camera_are_decoded_smaller():
    image = FILES["plain"][0]
    shot = Shot("jpeg", 0, 0, jpeg(image), 0)
    assert decoded(shot, "camera", 128).size == (256, 192)
    assert decoded(shot, "camera").size == (1024, 768)
    assert decoded(Shot("rgb", 1024, 768, image.tobytes(), 0), "camera", 128).size == (1024, 768)


def test_who_wants_no_whole_image_gets_it_sooner(tmp_path, bundle_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(FILES["plain"][0]))
    bundle, frame = read_bundle(bundle_path), Frame.of(tmp_path / "a.jpg")
    sizes = {}
    for name, options in {
        "whole": {},
        "small": {"whole": False},
        "turned": {"whole": False, "view": View(rotate=90)},
        "a part": {"whole": False, "view": View(crop=(0.0, 0.0, 1.0, 0.5))},
        "framed": {"whole": False, "view": View(crop="letterbox")},
    }.items():
        classifier = Classifier(bundle, **options)
        classifier.use(bundle.labels)
        sizes[name] = classifier.classify(frame).image.size
    assert sizes == {"whole": (1024, 768), "small": (128, 96), "turned": (96, 128), "a part": (1024, 384), "framed": (1024, 1024)}
