"""Turning, mirroring and cropping, against numpy's own."""

import numpy as np
import pytest
from PIL import Image

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.inference.view import PAD, View, parse_crop


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8))


def test_nothing_asked_for_is_the_very_same_picture(image):
    assert View().apply(image) is image


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turns_are_clockwise(image, degrees):
    turned = np.rot90(np.asarray(image), -degrees // 90)
    np.testing.assert_array_equal(np.asarray(View(rotate=degrees).apply(image)), turned)


def test_mirrors(image):
    pixels = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(View(flip="h").apply(image)), pixels[:, ::-1])
    np.testing.assert_array_equal(np.asarray(View(flip="v").apply(image)), pixels[::-1])
    np.testing.assert_array_equal(np.asarray(View(flip="hv").apply(image)), pixels[::-1, ::-1])
    turned_first = np.rot90(pixels, -1)[:, ::-1]
    np.testing.assert_array_equal(np.asarray(View(90, "h").apply(image)), turned_first)


def test_a_letterbox_keeps_every_pixel_in_a_square(image):
    pixels = np.asarray(View(crop="letterbox").apply(image))
    assert pixels.shape == (31, 31, 3)
    np.testing.assert_array_equal(pixels[5:25], np.asarray(image))
    assert (pixels[:5] == PAD).all() and (pixels[25:] == PAD).all()


def test_a_region_is_given_in_shares(image):
    found = View(crop=(0.5, 0.25, 0.5, 0.5)).apply(image)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image)[5:15, 15:31])
    assert View(crop=(0.99, 0.99, 0.001, 0.001)).apply(image).size == (1, 1)


@pytest.mark.parametrize("text", ["", "middle", "0,0,1", "0,0,0,1", "0.6,0,0.6,1", "-0.1,0,1,1", "nan,0,1,1", "0,0,1,nan"])
def test_impossible_crops_are_refused(text):
    with pytest.raises(UsageError, match="--crop"):
        parse_crop(text)


def test_crops_are_read():
    assert parse_crop("letterbox") == "letterbox"
    assert parse_crop("0,0,1,1") == (0, 0, 1, 1)
