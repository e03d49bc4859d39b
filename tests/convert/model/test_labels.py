"""Labels as people write them, and vectors as open_clip makes them."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from convert.model.labels import (
    embed_labels,
    imagenet_labels,
    parse_templates,
    read_ids,
    read_label_list,
    read_labels_of,
    read_templates,
    text_vectors,
)
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from convert.support.errors import ModelError, UsageError
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.text.label_list import LabelList, read_label_file


@pytest.fixture(scope="module")
def pocket():
    return load_model(None, None, None)


def test_the_options_forms(tmp_path, pocket):
    (tmp_path / "l.txt").write_text("n1\tcat, tomcat\nn2\tdog\n")
    assert read_label_list(str(tmp_path / "l.txt"), pocket).names == ("cat", "dog")
    assert read_label_list("cat, red fox ,dog,", pocket).names == ("cat", "red fox", "dog")
    listed = read_label_list(None, pocket)
    assert listed == read_label_file(pocket.folder / "labels.txt")
    assert {"goldfish", "dog"} <= set(listed.names)


def test_what_the_reader_refuses_is_a_usage_error(tmp_path, pocket):
    path = tmp_path / "l.txt"
    for content, words in (
        (b"T\xfcr\n", r"l\.txt, line 1: expected UTF-8"),
        (b"cat\ncat\n", "more than once: cat"),
        (b"", "no label"),
    ):
        path.write_bytes(content)
        for read in (lambda: read_label_list(str(path), pocket), lambda: read_labels_of(path)):
            with pytest.raises(UsageError, match=words) as refusal:
                read()
            assert refusal.value.exit_code == 2
    with pytest.raises(UsageError, match="--labels names no label"):
        read_label_list(" , ", pocket)


@pytest.mark.parametrize("name", ["nothing.txt", "nothing.tsv", "some/where.csv"])
def test_a_file_that_does_not_exist_is_no_label(pocket, name):
    with pytest.raises(UsageError, match="no such file"):
        read_label_list(name, pocket)


def test_many_labels_on_the_command_line(pocket):
    """Longer than any file name may be."""
    names = [f"label number {k}" for k in range(100)]
    assert read_label_list(", ".join(names), pocket).names == tuple(names)


def test_a_model_without_labels_says_what_to_give(pocket):
    with pytest.raises(UsageError, match="--labels"):
        read_label_list(None, dataclasses.replace(pocket, folder=None))


def test_templates(tmp_path, pocket):
    assert read_templates(pocket) == tuple((pocket.folder / "templates.txt").read_text().splitlines())
    assert read_templates(pocket)[0] == "a photo of a {}."
    simple = read_templates(dataclasses.replace(pocket, folder=None))
    assert simple == tuple(template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES)
    assert len(simple) == 7


@pytest.mark.parametrize("text", ["", "\n", "a photo\n", "a {} photo\nno place\n"])
def test_templates_without_a_place_for_the_label_are_refused(tmp_path, pocket, text):
    (tmp_path / "templates.txt").write_text(text)
    with pytest.raises(UsageError, match=r"templates\.txt"):
        read_templates(dataclasses.replace(pocket, folder=tmp_path))


def test_vectors_are_open_clips_own(pocket):
    """Computed here one sentence at a time with open_clip alone."""
    labels = LabelList(("goldfish", "red fox", "a {} brace"), ("1", "2", "3"))
    bank = embed_labels(labels, pocket)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{pocket.folder}")
    for vector, name in zip(bank.vectors, labels.names, strict=True):
        total = 0
        for line in (pocket.folder / "templates.txt").read_text().splitlines():
            before, after = line.split("{}")
            with torch.no_grad():
                text = pocket.module.encode_text(tokenizer([before + name + after]))[0]
            total = total + text / text.norm()
        np.testing.assert_allclose(vector, (total / total.norm()).numpy(), atol=2e-6)
    assert bank.names == labels.names
    assert bank.space_id == pocket.space_id
    assert bank.vectors.dtype == np.float32


def test_batches_do_not_matter(pocket, monkeypatch):
    labels = LabelList(tuple(f"thing {k}" for k in range(7)), tuple("abcdefg"))
    whole = embed_labels(labels, pocket).vectors
    monkeypatch.setattr("convert.model.labels.BATCH", 3)
    np.testing.assert_allclose(embed_labels(labels, pocket).vectors, whole, atol=2e-6)


def test_imagenets_names_in_the_order_of_sorted_ids_or_of_a_list(tmp_path):
    ids = [f"n{number:08}" for number in range(1000)]
    for name in ids[::2]:
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"500 folders.*1000 WordNet ids"):
        imagenet_labels(tmp_path)
    (tmp_path / "wnids.txt").write_text("\n".join(ids))
    listed = imagenet_labels(tmp_path)
    assert listed.indices([ids[3], ids[999]]) == (3, 999)
    assert (listed.names[0], listed.names[999]) == ("tench", "toilet paper")
    (tmp_path / "wnids.txt").unlink()
    for name in ids[1::2]:
        (tmp_path / name).mkdir()
    assert imagenet_labels(tmp_path) == listed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_templates_and_ids_take_the_encodings_of_label_files(tmp_path, encoding, end):
    path = tmp_path / "x.txt"
    path.write_bytes(f"ein Bild: {{}}{end}une image d’un {{}}{end}".encode(encoding))
    assert parse_templates(path) == ("ein Bild: {}", "une image d’un {}")
    path.write_bytes(f"n01{end}n02{end}".encode(encoding))
    assert read_ids(path) == ["n01", "n02"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("für {}\n".encode("latin-1"), r"x\.txt, line 1: expected UTF-8, found byte 0xfc"),
        ("a {}\n".encode("utf-16-le"), r"x\.txt \(UTF-8\): expected printable characters, found U\+0000"),
        (b"a {}\x1b[2J\n", r"found U\+001B"),
        (b"a photo\n", "every line needs"),
        (None, "expected a file of templates.*No such file"),
    ],
)
def test_templates_that_are_none_are_a_usage_error_of_one_line(tmp_path, content, words):
    path = tmp_path / "x.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as refusal:
        parse_templates(path)
    assert str(refusal.value).isprintable()


def test_a_list_of_the_models_folder_goes_by_its_name(tmp_path, pocket):
    (tmp_path / "labels.txt").write_text("cat\n")
    (tmp_path / "labels-birds.txt").write_text("owl\njay\n")
    there = dataclasses.replace(pocket, folder=tmp_path)
    assert read_label_list("birds", there).names == ("owl", "jay")
    assert read_label_list("everyday", there).names == ("cat",)
    assert read_label_list("owls", there).names == ("owls",), "no list of that name, so it is a label"
    assert read_label_list("birds", dataclasses.replace(pocket, folder=None)).names == ("birds",)


def test_what_the_folder_has_vectors_of_stands_for_itself_and_the_text_tower_gives_the_rest(tmp_path, pocket):
    size = pocket.module.visual.proj.shape[1]
    vectors = np.eye(2, size, dtype=np.float32)
    shutil.copy(pocket.folder / "templates.txt", tmp_path)
    there = dataclasses.replace(pocket, folder=tmp_path)
    (tmp_path / "labels.npz").write_bytes(labels_to_bytes(LabelBank(vectors, ("Cat", "owl"), ("{}",), pocket.space_id)))
    names = ("owl", "red fox", "cat")
    found = embed_labels(LabelList(names, names), there)
    np.testing.assert_array_equal(found.vectors[[0, 2]], vectors[[1, 0]])
    plain = text_vectors(pocket.module, pocket.tokenizer, ["red fox"], read_templates(pocket))
    np.testing.assert_allclose(found.vectors[1], plain[0].numpy(), atol=2e-6)
    with pytest.raises(UsageError, match="no vector for the label 'red fox'"):
        embed_labels(LabelList(names, names), dataclasses.replace(there, text=False))
    (tmp_path / "labels.npz").write_bytes(labels_to_bytes(LabelBank(vectors, ("Cat", "owl"), ("{}",), "another")))
    with pytest.raises(ModelError, match="made for space another"):
        embed_labels(LabelList(names, names), there)
