"""Images become tensors as open_clip makes them; what has no parity there is checked against arithmetic."""

import warnings

import numpy as np
import pytest
from PIL import Image

from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import BundleIncompatible, SourceError
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image, to_rgb

SIZES = [(640, 480), (333, 517), (224, 224), (225, 224), (97, 31), (32, 32), (1000, 67), (31, 33)]  # width, height


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width * 7919 + height).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def transform_module():
    """open_clip's transforms; a board has no torch, so only there is this left out."""
    torch = pytest.importorskip("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for declaration in (
        "nms(Tensor dets, Tensor scores, float t) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float t) -> Tensor",
    ):
        try:
            library.define(declaration)  # without them a CPU-only torch refuses torchvision
        except RuntimeError:
            break
    yield pytest.importorskip("open_clip.transform")
    del library


def reference(transform_module, image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    size = (preprocessing.height, preprocessing.width)
    config = transform_module.PreprocessCfg(
        size=size[0] if size[0] == size[1] else size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation=preprocessing.interpolation,
        resize_mode=preprocessing.resize_mode,
    )
    values = transform_module.image_transform_v2(config, is_train=False)(image)
    return values.numpy().transpose(1, 2, 0)[np.newaxis]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(224, 224),
        Preprocessing(64, 64, interpolation="bilinear"),
        Preprocessing(64, 64, resize_mode="squash"),
        Preprocessing(48, 80, resize_mode="squash", interpolation="bilinear"),
        Preprocessing(48, 80),
        Preprocessing(81, 47, interpolation="bilinear"),
    ],
    ids=str,
)
def test_parity_with_open_clip(transform_module, size, preprocessing):
    image = noise(*size)
    tensor = image_to_tensor(image, preprocessing)
    assert tensor.dtype == np.int8
    assert tensor.shape == (1, preprocessing.height, preprocessing.width, 3)
    ours = (tensor.astype(np.float64) + 128) / 255
    assert np.abs(ours - reference(transform_module, image, preprocessing)).max() <= 1.001 / 255  # a code, in float32


def test_a_picture_of_the_right_size_passes_byte_by_byte():
    image = noise(8, 8)
    np.testing.assert_array_equal(image_to_tensor(image, Preprocessing(8, 8))[0].astype(int) + 128, np.asarray(image))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 129, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = [0, 0, 1, 128, 255]  # round(v / 257)
    for image in (load_image(tmp_path / "deep.png"), Image.fromarray(values.astype(np.int32))):
        rgb = np.asarray(to_rgb(image))
        assert rgb[0].tolist() == [[v] * 3 for v in expected]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "1", "P", "YCbCr"])
def test_other_modes_are_converted_as_pillow_does(mode):
    image = noise(8, 8).convert(mode)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(image.convert("RGB")))


def test_a_transparent_palette_is_quiet(tmp_path):
    image = noise(8, 8).convert("P")
    image.save(tmp_path / "p.png", transparency=bytes(range(256)))
    loaded = load_image(tmp_path / "p.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(np.asarray(to_rgb(loaded)), np.asarray(image.convert("RGB")))


def test_unknown_modes_are_refused_by_name():
    with pytest.raises(BundleIncompatible, match="'longest'"):
        image_to_tensor(noise(8, 8), Preprocessing(8, 8, "longest"))
    with pytest.raises(BundleIncompatible, match="'lanczos'"):
        image_to_tensor(noise(8, 8), Preprocessing(8, 8, interpolation="lanczos"))


def test_a_strip_that_would_fill_the_memory_is_refused():
    with pytest.raises(SourceError, match="1 x 10000"):
        image_to_tensor(noise(1, 10000), Preprocessing(224, 224))


def test_broken_pictures(tmp_path, monkeypatch):
    good = tmp_path / "good.png"
    noise(40, 40).save(good)
    cases = {"empty": b"", "text": b"hello", "cut": good.read_bytes()[:2000], "chunk": good.read_bytes()[:40] + b"\xff" * 4000}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=name):
            load_image(tmp_path / name)
    with pytest.raises(SourceError, match="no such file"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(SourceError):
        load_image(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match="decompression bomb"):
        load_image(good)
