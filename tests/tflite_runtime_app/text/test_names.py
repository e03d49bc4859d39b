"""Names as people write them, read as the workshop reads them."""

import pytest

from convert.model.labels import parse_labels
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text.names import read_names, split_names


@pytest.mark.parametrize(
    "text",
    ["cat\n\n  red fox \ndog", "n01\tgoldfish, Carassius\nn02\tgreat white shark\ncrane, bird\n", "a\r\nn1\tb, c\r\nd", "é中\n"],
)
def test_a_file_is_read_as_the_workshop_reads_it(tmp_path, text):
    (tmp_path / "l.txt").write_bytes(text.encode())
    assert read_names(tmp_path / "l.txt") == parse_labels(text).names


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "l.txt").write_bytes("cat\ndog\n".encode("utf-8-sig"))
    assert read_names(tmp_path / "l.txt") == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "names no label"),
        (b"\n ,\n\t\n", "names no label"),
        (b"cat\ndog\ncat\n", "more than once: cat"),
        (b"x" * 201, "at most 200 characters, found 201"),
        (b"\xff\xfe\x00", "no UTF-8"),
        (b"a\x00b\n", "zero bytes"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path, content, told):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(LabelError, match=told) as caught:
        read_names(tmp_path / "l.txt")
    assert "l.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"absent\.txt: expected a text file.*No such file"):
        read_names(tmp_path / "absent.txt")


def test_typed_in():
    assert split_names("a red mug, my cat,, ", "--labels") == ("a red mug", "my cat")
    assert split_names("a red mug, cup\nmy cat", "the list") == ("a red mug", "my cat")
    for text in ("", " , ", "\n"):
        with pytest.raises(LabelError, match="the list names no label"):
            split_names(text, "the list")
