"""A model that fails on some images: the interpreter goes on, and what it keeps of every failure does not grow for ever."""

import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.admission.open import open_bundle
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import InferenceError, SourceError
from tflite_runtime_app.inference import engine
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.sources.base import Frame

DARK = np.full((1, 8, 8, 3), -128, np.int8)
RED = np.broadcast_to(np.array([127, -128, -128], np.int8), (1, 8, 8, 3)).copy()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_bundle.write(
        tmp_path_factory.mktemp("light") / "light.tflite", tiny_bundle.build(fails_on_red=True), tiny_bundle.bank()
    )


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_after_a_failure_the_same_image_gives_the_same_bytes_as_before(path, kernels):
    found = LiteRtEngine(read_bundle(path).flatbuffer, 1, kernels)
    before = found.invoke("stage_0", {"image": DARK})
    for _ in range(3):
        with pytest.raises(InferenceError) as error:
            found.invoke("stage_0", {"image": RED})
        assert str(error.value).count("Rsqrt") == 1, "its own complaint, without those before"
    after = found.invoke("stage_0", {"image": DARK})
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_interpreter_that_has_failed_often_is_replaced(path, monkeypatch):
    monkeypatch.setattr(engine, "FAILURES", 3)
    found = LiteRtEngine(read_bundle(path).flatbuffer)
    longest = 0
    for _ in range(20):
        with pytest.raises(InferenceError) as error:
            found.invoke("stage_0", {"image": RED})
        longest = max(longest, len(str(error.value.__cause__)))
        assert found.invoke("stage_0", {"image": DARK})
    assert longest < 600, "LiteRT keeps a line for every failure of an interpreter"


def test_a_classifier_names_the_image_and_answers_the_next_on_any_number_of_threads(path):
    bundle = open_bundle(path)
    for threads in (1, 2):
        classifier = Classifier(bundle, threads)
        classifier.use(bundle.labels)
        frames = [Frame.of(Image.new("RGB", (8, 8), colour), colour) for colour in ("black", "red")]
        for _ in range(2):
            assert classifier.classify(frames[0]).answer.top
            with pytest.raises(SourceError, match=r"^red: the model fails on this input in stage_0: .*Rsqrt"):
                classifier.classify(frames[1])


def test_an_image_that_memory_has_no_room_for_is_one_image(path):
    def load():
        raise MemoryError

    classifier = Classifier(read_bundle(path), 1)
    classifier.use(classifier.bundle.labels)
    with pytest.raises(SourceError, match=r"^huge: there is not enough memory"):
        classifier.classify(Frame("huge", 0, load))
