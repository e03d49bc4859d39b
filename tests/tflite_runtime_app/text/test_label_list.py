"""Label lists as people write them and as their editors save them."""

import time

import pytest

from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text.label_list import LONGEST, LabelList, label_reader, read_label_file, typed_labels


def read(tmp_path, content: bytes | str) -> LabelList:
    path = tmp_path / "l.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_label_file(path)


def refused(tmp_path, content: bytes | str) -> str:
    with pytest.raises(LabelError) as refusal:
        read(tmp_path, content)
    assert "l.txt" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).isprintable()
    return str(refusal.value)


def test_one_label_a_line(tmp_path):
    assert read(tmp_path, "cat\n\n  red fox \ndog") == LabelList(("cat", "red fox", "dog"), ("cat", "red fox", "dog"))
    assert read(tmp_path, "é中\n").names == ("é中",)


def test_ids_and_synonyms(tmp_path):
    found = read(tmp_path, "n01\tgoldfish, Carassius auratus\nn02\tgreat white shark\ncrane, bird\n\tnewt\nn03\t\n")
    assert found.names == ("goldfish", "great white shark", "crane", "newt")
    assert found.ids == ("n01", "n02", "crane", "newt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_encoding_and_line_end_that_editors_write(tmp_path, encoding, end, last):
    text = f"n02123045\tcat, tomcat{end}Tür{end}n02084071\tdog{end if last else ''}"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    found = read(tmp_path, (mark + text).encode(encoding))
    assert found == LabelList(("cat", "Tür", "dog"), ("n02123045", "Tür", "n02084071"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("cat\nTür\n".encode("latin-1"), "l.txt, line 2: expected UTF-8, found byte 0xfc"),
        ("猫\n犬\n".encode("cp932"), "l.txt, line 1: expected UTF-8, found byte 0x94"),
        (b"\xef\xbb\xbfcat\n\xff\n", "l.txt, line 2: expected UTF-8, found byte 0xff"),
        ("cat\ndog".encode("utf-16")[:-1], "l.txt, line 2: expected UTF-16"),
        ("cat\n".encode("utf-32"), "found UTF-32; save it as UTF-8"),
        ("cat\n".encode("utf-16-le"), "l.txt, line 1 (UTF-8): expected printable characters, found the control character U+0000"),
    ],
)
def test_another_encoding_is_named_with_the_line(tmp_path, content, words):
    said = refused(tmp_path, content)
    assert words in said
    assert "save it as UTF-8" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "l.txt (UTF-8) names no label"),
        ("\n ,\n\t\n", "names no label"),
        ("a\x00b\n", "U+0000"),
        ("cat\ndog\x1b[2J\n", "line 2 (UTF-8): expected printable characters, found the control character U+001B"),
        ("cat\n\x0bdog\n", "U+000B"),
        ("n\x7f1\tcat\n", "U+007F"),
        ("cat\n\ufeffdog\n", "the character U+FEFF"),
        ("left\u202eright\n", "the character U+202E"),
        ("cat\n" + "x" * 201, "line 2 (UTF-8): a label has at most 200 characters, found 201"),
        ("cat\ndog\ncat\n", "l.txt (UTF-8): labels must differ from one another; given more than once: cat (lines 1, 3)"),
        ("1\tcat\n1\tdog", "more than once: 1 (lines 1, 2)"),
        ("1\tcat\n2\tcat, tiger", "more than once: cat (lines 1, 2)"),
        ("n01,n02\tcat\nn02\tdog\n", "more than once: n02 (lines 1, 2)"),
        ("n01,n01\tcat\n", "more than once: n01 (lines 1, 1)"),
    ],
)
def test_what_is_no_list_of_labels_is_refused_with_its_line(tmp_path, content, words):
    assert words in refused(tmp_path, content)


def test_of_many_repeated_labels_a_few_are_named(tmp_path):
    said = refused(tmp_path, "\n".join(f"label {k % 40}" for k in range(80)))
    assert said.count("lines") == 5


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"absent\.txt: expected a text file.*No such file"):
        read_label_file(tmp_path / "absent.txt")
    with pytest.raises(LabelError, match="Is a directory"):
        read_label_file(tmp_path)


def test_thousands_of_labels_take_no_time(tmp_path):
    start = time.process_time()
    assert len(read(tmp_path, "\n".join(f"label {k}" for k in range(21_000))).names) == 21_000
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a red mug, my cat,, ", ("a red mug", "my cat")),
        ("a red mug, my cat\n", ("a red mug", "my cat")),
        ("\n\na red mug, my cat\n\n", ("a red mug", "my cat")),
        ("a red mug, cup\nmy cat", ("a red mug", "my cat")),
        ("n01\tcat, tomcat", ("cat",)),
        ("n01\tcat\r\nn02\tdog", ("cat", "dog")),
        ("गिलहरी, 👩‍🚒, می‌خواهم", ("गिलहरी", "👩‍🚒", "می‌خواهم")),
    ],
)
def test_typed_in(text, names):
    assert typed_labels(text, "the list").names == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the list names no label"),
        (" , ", "the list names no label"),
        ("\n", "the list names no label"),
        ("cat, dog, cat", "the list: labels must differ from one another; given more than once: cat$"),
        ("cat\ndog\ncat", r"given more than once: cat \(lines 1, 3\)$"),
        ("cat, d\x07og", r"the list: expected printable characters, found the control character U\+0007"),
        ("cat\nd\x07og", r"the list, line 2: expected printable"),
        ("x" * (LONGEST + 1), "the list: a label has at most 200 characters"),
    ],
)
def test_what_was_typed_is_refused_under_its_name(text, words):
    with pytest.raises(LabelError, match=words):
        typed_labels(text, "the list")


def test_an_option_is_a_file_or_names(tmp_path):
    (tmp_path / "l.txt").write_text("n1\tcat, tomcat\nn2\tdog\n")
    reader = label_reader(str(tmp_path / "l.txt"))
    assert reader().names == ("cat", "dog")
    (tmp_path / "l.txt").write_text("owl\n")
    assert reader().names == ("owl",), "read anew each time"
    (tmp_path / "l.txt").unlink()
    with pytest.raises(LabelError, match="No such file"):  # and it does not turn into a label of its own name
        reader()
    assert label_reader("cat, red fox ,dog,")().names == ("cat", "red fox", "dog")
    assert (
        len(label_reader(", ".join(f"label number {k}" for k in range(100)))().names) == 100
    )  # longer than a file's name may be


@pytest.mark.parametrize("name", ["nothing.txt", "nothing.tsv", "some/where.csv"])
def test_a_file_that_does_not_exist_is_no_label(name):
    with pytest.raises(LabelError, match=f"--labels {name}: no such file"):
        label_reader(name)


def test_a_label_is_right_for_the_images_of_each_of_its_ids():
    found = typed_labels("n02,n03\tdog, hound\nn01\tcat\n", "the list")
    assert (found.names, found.ids) == (("dog", "cat"), ("n02,n03", "n01"))
    assert found.indices(["n03", "n01", "n02"]) == (0, 1, 0)
    assert found.indices(["n03", "other"]) is None
    assert found.indices([]) is None
    assert typed_labels("cat, dog", "the list").indices(["dog"]) == (1,)


def test_images_of_what_no_label_names_are_left_aside_unless_folders_are_no_ids():
    found = typed_labels("n02,n03\tdog\nn01\tcat\n", "the list")
    folders = ["n01", "n03"] * 10 + ["n09"]
    assert found.known(folders) == list(range(20))
    assert found.known(["n01", "holiday", "garden"]) == [0, 1, 2]
    assert found.known(["n01"] * 9 + ["holiday"]) == list(range(9))
    assert found.known([]) == []
