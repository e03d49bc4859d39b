"""The text tower's file: read back as written, and refused when a byte or a field is not as it should be."""

import io
import json
import zipfile

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.bundle.container import appended
from tflite_runtime_app.errors import BundleCorrupt, BundleError, BundleIncompatible, LabelError
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.file import MEMBER, check_belongs, pack_text, read_text, whole_digest
from tflite_runtime_app.text.tower import TextTower


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_text.write(tmp_path_factory.mktemp("text") / "tiny.text.tflite")


def test_it_lies_beside_its_bundle(tmp_path):
    assert text_path(tmp_path / "pocket-rpi.tflite") == tmp_path / "pocket-rpi.text.tflite"


def test_read_back_as_written(path):
    file = read_text(path)
    expected = tiny_text.manifest(flatbuffer_sha256=file.manifest.flatbuffer_sha256)
    assert file.manifest == expected
    assert pack_text(file.flatbuffer, tiny_text.manifest()) == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [MEMBER]
        assert whole_digest(path) == read_text(path).digest == archive.comment.decode()


def test_every_altered_byte_is_noticed(path, tmp_path):
    content = path.read_bytes()
    copy = tmp_path / "copy.tflite"
    for place in (0, 5, 100, len(content) // 2, len(content) - 500, len(content) - 70, len(content) - 1):
        copy.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BundleError, match=r"convert text BUNDLE$"):
            read_text(copy)
        assert whole_digest(copy) == ""
    for length in (0, 3, 40, len(content) // 2, len(content) - 1):
        copy.write_bytes(content[:length])
        with pytest.raises(BundleError, match=r"copy\.tflite: .*(expected|cut short)"):
            read_text(copy)


def test_a_bundle_and_a_plain_model_are_no_text_tower(path, bundle_path, tmp_path):
    with pytest.raises(BundleIncompatible, match=r"expected text\.json, each once and uncompressed, found manifest\.json"):
        read_text(bundle_path)
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(read_text(path).flatbuffer)
    with pytest.raises(BundleIncompatible, match="a plain model"):
        read_text(plain)
    with pytest.raises(BundleCorrupt, match="No such file"):
        read_text(tmp_path / "absent.text.tflite")
    assert whole_digest(tmp_path / "absent.text.tflite") == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("lengths", []),
        ("lengths", [20, 12]),
        ("lengths", [12]),
        ("lengths", ["12", 20]),
        ("templates", []),
        ("templates", ["a photo"]),
        ("context", "20"),
        ("tokenizer", "sentencepiece"),
        ("pooling", "last"),
        ("check", []),
        ("surprise", 1),
    ],
)
def test_fields_that_do_not_do_are_named(path, tmp_path, field, value):
    file = read_text(path)
    with zipfile.ZipFile(path) as archive:
        described = json.loads(archive.read(MEMBER))
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(appended(file.flatbuffer, {MEMBER: json.dumps({**described, field: value}).encode()}))
    with pytest.raises(BundleIncompatible, match=r"another version" if field in ("schema", "surprise") else field):
        read_text(copy)


def test_another_models_tower_is_refused_with_the_remedy(path, tmp_path, tiny):
    check_belongs(read_text(path), tiny.manifest)
    other = tiny_text.write(tmp_path / "other.text.tflite", space_id="space-of-another")
    with pytest.raises(LabelError, match=r"space-of-ano.*space-of-the.*convert text BUNDLE"):
        check_belongs(read_text(other), tiny.manifest)


def test_a_tower_for_another_vocabulary_is_refused(path, tmp_path):
    other = tiny_text.write(tmp_path / "other.text.tflite", vocabulary=1000)
    with pytest.raises(BundleIncompatible, match="expects 1000 kinds of token, this program has 49408"):
        TextTower(read_text(other))


def test_short_and_long_signatures_say_the_same(path):
    """The same sentence through the graph of 12 tokens and through that of 20: what stands behind its end changes nothing."""
    tower = TextTower(read_text(path))
    sentence = "a photo of a red fox."
    short = tower.embed(sentence)
    tower._lengths = (20,)
    np.testing.assert_allclose(tower.embed(sentence), short, atol=2e-6)
    assert np.linalg.norm(short) == pytest.approx(1, abs=1e-6)
    assert short.shape == (tiny_bundle.EMBEDDING,)


def test_labels_are_means_over_templates(path):
    tower = TextTower(read_text(path))
    counted: list[int] = []
    found = tower.label_vectors(["cat", "a {} brace"], tiny_text.TEMPLATES, counted.append)
    sentences = [("a photo of a cat.", "cat it is"), ("a photo of a a {} brace.", "a {} brace it is")]
    for vector, (first, second) in zip(found, sentences, strict=True):
        mean = tower.embed(first) + tower.embed(second)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert counted == [1, 2]


def test_the_same_parts_give_the_same_bytes():
    first, second = (appended(b"1234TFL3" + bytes(100), {"a": b"x", "b": b"y"}) for _ in range(2))
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.read("b") == b"y"
