"""Labels as people write them, and vectors as open_clip makes them."""

import dataclasses

import numpy as np
import pytest
import torch

from convert.model.labels import LabelList, embed_labels, imagenet_labels, parse_labels, read_label_list, read_templates
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from convert.support.errors import UsageError


@pytest.fixture(scope="module")
def pocket():
    return load_model(None, None, None)


def test_one_label_a_line():
    assert parse_labels("cat\n\n  red fox \ndog") == LabelList(("cat", "red fox", "dog"), ("cat", "red fox", "dog"))


def test_ids_and_synonyms():
    found = parse_labels("n01\tgoldfish, Carassius auratus\nn02\tgreat white shark\ncrane, bird\n")
    assert found.names == ("goldfish", "great white shark", "crane")
    assert found.ids == ("n01", "n02", "crane")


def test_windows_line_ends_and_a_last_line_without_one():
    assert parse_labels("a\r\nn1\tb, c\r\nd").names == ("a", "b", "d")


@pytest.mark.parametrize("text", ["", "\n \n", "\t\n", ",,\n"])
def test_an_empty_list_is_refused(text):
    with pytest.raises(UsageError, match="empty"):
        parse_labels(text)


@pytest.mark.parametrize(
    ("text", "named"), [("cat\ndog\ncat\n", "cat"), ("1\tcat\n1\tdog", "1"), ("1\tcat\n2\tcat, tiger", "cat")]
)
def test_duplicates_are_refused_by_name(text, named):
    with pytest.raises(UsageError, match=f"more than once: {named}"):
        parse_labels(text)


def test_a_label_is_right_for_the_pictures_of_each_of_its_ids():
    found = parse_labels("n02,n03\tdog, hound\nn01\tcat\n")
    assert (found.names, found.ids) == (("dog", "cat"), ("n02,n03", "n01"))
    assert found.indices(["n03", "n01", "n02"]) == (0, 1, 0)
    with pytest.raises(UsageError, match="more than once: n02"):
        parse_labels("n01,n02\tcat\nn02\tdog\n")


def test_pictures_of_what_no_label_names_are_left_aside_unless_folders_are_no_ids():
    found = parse_labels("n02,n03\tdog\nn01\tcat\n")
    folders = ["n01", "n03"] * 10 + ["n09"]
    assert found.known(folders) == list(range(20))
    assert found.known(["n01", "holiday", "garden"]) == [0, 1, 2]
    assert found.known(["n01"] * 9 + ["holiday"]) == list(range(9))
    assert found.known([]) == []


def test_thousands_of_labels_take_no_time():
    import time

    start = time.perf_counter()
    assert len(parse_labels("\n".join(f"label {k}" for k in range(21_000))).names) == 21_000
    assert time.perf_counter() - start < 2


def test_indices_by_folder():
    found = parse_labels("n01\tgoldfish\nn02\tshark")
    assert found.indices(["n02", "n01", "n02"]) == (1, 0, 1)
    assert found.indices(["n02", "other"]) is None
    assert found.indices([]) is None
    assert parse_labels("cat\ndog").indices(["dog"]) == (1,)


def test_the_options_forms(tmp_path, pocket):
    (tmp_path / "l.txt").write_text("n1\tcat, tomcat\nn2\tdog\n")
    assert read_label_list(str(tmp_path / "l.txt"), pocket).names == ("cat", "dog")
    assert read_label_list("cat, red fox ,dog,", pocket).names == ("cat", "red fox", "dog")
    listed = read_label_list(None, pocket)
    assert listed == parse_labels((pocket.folder / "labels.txt").read_text("utf-8"))
    assert {"goldfish", "dog"} <= set(listed.names)


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
