"""Label files as other tools write them: understood where there is one way to read them, else refused with the line shown."""

import contextlib
import time

import pytest

from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text.label_list import LabelList, label_lines, label_reader, read_label_file, typed_labels

PAIR = ("cat", "dog")


def read(tmp_path, content: str, name: str = "l.txt") -> LabelList:
    path = tmp_path / name
    path.write_bytes(content.encode())
    return read_label_file(path)


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        # columns
        ("0\tcat\n1\tdog\n", ("0", "1")),
        ("cat\t0\r\ndog\t1\r\n", ("0", "1")),
        ("cat\tn02123045\ndog\tn02084071\n", ("n02123045", "n02084071")),
        ("id\tname\n0\tcat\n1\tdog\n", ("0", "1")),
        ("0\tn02123045\tcat\n1\tn02084071\tdog\n", ("0,n02123045", "1,n02084071")),
        ("1;cat\r\n2;dog\r\n", ("1", "2")),
        ("cat;1\ndog;2\n", ("1", "2")),
        ("id;name\n1;cat\n2;dog, puppy\n", ("1", "2")),
        (";name\n0;cat\n1;dog\n", ("0", "1")),
        ("0|cat\n1|dog\n", ("0", "1")),
        ("id,name\r\n1,cat\r\n2,dog\r\n", ("1", "2")),
        ("class,label\n0,cat\n1,dog\n", ("0", "1")),
        ("label,class\ncat,0\ndog,1\n", ("0", "1")),
        ("index,name\n0,cat\n1,dog\n", ("0", "1")),
        (",name\n0,cat\n1,dog\n", ("0", "1")),
        ('"id","name"\n"1","cat"\n"2","dog"\n', ("1", "2")),
        ("id,espece\n0,cat\n1,dog\n", ("0", "1")),
        ("1,cat, tomcat\n2,dog\n", ("1", "2")),
        ("cat,0\ndog,1\n", ("0", "1")),
        ("/m/01yrx,cat\n/m/0bt9lr,dog\n", ("/m/01yrx", "/m/0bt9lr")),
        ("LabelName,DisplayName\n/m/01yrx,cat\n/m/0bt9lr,dog\n", ("/m/01yrx", "/m/0bt9lr")),
        ("0: cat\n1: dog\n", ("0", "1")),
        ("cat: 0\ndog: 1\n", ("0", "1")),
        ("sep=;\nid;name\n1;cat\n2;dog\n", ("1", "2")),
        ("1,cat,\n2,dog,\n", ("1", "2")),
        ("Class ID,Class Name\n1,cat\n2,dog\n", ("1", "2")),
        ("| id | name |\n|----|------|\n| 1 | cat |\n| 2 | dog |\n", ("1", "2")),
        # an id or a sign before the name
        ("001.cat\n002.dog\n", ("001", "002")),
        ("1 001.cat\n2 002.dog\n", ("001", "002")),
        ("n02123045-cat\nn02084071-dog\n", ("n02123045", "n02084071")),
        ("0 cat\n1 dog\n", ("0", "1")),
        ("0  cat\n3  dog\n", ("0", "3")),
        ("1. cat\n2. dog\n", ("1", "2")),
        ("1) cat\n2) dog\n", ("1", "2")),
        ("cat 0\ndog 1\n", ("0", "1")),
        ("n02123045 cat, tabby cat\nn02084071 dog\n", ("n02123045", "n02084071")),
        ("n02123045 1 cat\nn02084071 2 dog\n", ("n02123045", "n02084071")),
        ("- cat\n- dog\n", None),
        ("* cat\n* dog\n", None),
        ("label\ncat\ndog\n", None),
        ('"name"\n"cat"\n"dog"\n', None),
        ('"cat",\n"dog",\n', None),
        ("'cat',\n'dog'\n", None),
        ("cat, dog\n", None),
        # comments
        ("# mine\ncat\n  # more\ndog\n", None),
        ("// mine\ncat\ndog\n", None),
        ("; mine\ncat\ndog\n", None),
        ("# of the model whose space is c0\nname,kept,pictures,right\ncat,yes,12,12\ndog,no,1,0\n", None),
        # JSON
        ('["cat", "dog"]', None),
        ('{"0": "cat", "1": "dog"}', ("0", "1")),
        ('{"1": "dog", "0": "cat"}', ("0", "1")),
        ('{"0": ["n02123045", "cat"], "1": ["n02084071", "dog"]}', ("0,n02123045", "1,n02084071")),
        ('{"cat": 0, "dog": 1}', ("0", "1")),
        ('[["n02123045", "cat"], ["n02084071", "dog"]]', ("n02123045", "n02084071")),
        ('[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]', ("1", "2")),
        ('{"id": 1, "name": "cat"}\n{"id": 2, "name": "dog"}\n', ("1", "2")),
        ('{\n  "model_type": "vit",\n  "id2label": {\n    "0": "cat",\n    "1": "dog"\n  },\n  "label2id": {"cat": 0}\n}', ("0", "1")),
        ('{"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}', ("1", "2")),
        # label maps and YAML
        ("item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  name: 'dog'\n}\n", ("1", "2")),
        ('item { name: "/m/0c" id: 1 display_name: "cat" }\nitem { name: "/m/0d" id: 2 display_name: "dog" }', ("1,/m/0c", "2,/m/0d")),
        ("path: x  # root\nnames:\n  0: cat\n  1: 'dog'  # a pet\n\ntrain: y\n", ("0", "1")),
        ("names:\n- cat\n- dog\nnc: 2\n", None),
        ("nc: 2\nnames: ['cat', \"dog\"]\n", None),
        ("names: {0: cat, 1: dog}\n", ("0", "1")),
    ],
)  # fmt: skip
def test_forms_of_other_tools_are_understood(tmp_path, content, ids):
    assert read(tmp_path, content) == LabelList(PAIR, ids or PAIR)
    assert label_reader(str(tmp_path / "l.txt"))().names == PAIR


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("3d printer\n7-up\na red mug, half full\n", ("3d printer", "7-up", "a red mug")),
        ('cat\n"a red mug, half full"\n', ("cat", "a red mug, half full")),
        ('id,name\n1,"dog, puppy"\n2,"a ""big"" cat"\n', ("dog, puppy", 'a "big" cat')),
        ('12" record\n"Mona Lisa" painting\n', ('12" record', '"Mona Lisa" painting')),
        ('"2 dogs"\n"3 cats"\n', ("2 dogs", "3 cats")),
        ('"7"\n"8"\n', ("7", "8")),
        ('"# sign"\ncat\n', ("# sign", "cat")),
        ("boeing 737\nboeing 747\nconcorde\n", ("boeing 737", "boeing 747", "concorde")),
        ("apollo 1\napollo 2\n", ("apollo 1", "apollo 2")),
        ("item\ncat\n", ("item", "cat")),
        ("1-piece\n3-piece\n", ("1-piece", "3-piece")),
        ("1st place\n2nd place\n", ("1st place", "2nd place")),
        ("1.5 l bottle\n2.5 l bottle\n", ("1.5 l bottle", "2.5 l bottle")),
        ("2 dogs\n3 dogs\na cat\n", ("2 dogs", "3 dogs", "a cat")),
        ("salt &amp; pepper\nfish &amp; chips\n", ("salt &amp; pepper", "fish &amp; chips")),
        ("object, thing\ncar, auto\n", ("object", "car")),
        ("label, tag\nbottle, flask\n", ("label", "bottle")),
        ("no,yes\nmaybe,perhaps\n", ("no", "maybe")),
        ("dog: labrador\ndog: poodle\n", ("dog: labrador", "dog: poodle")),
        ("C# book\nmug\n", ("C# book", "mug")),
    ],
)
def test_names_that_look_like_something_else_stay_names(tmp_path, content, names):
    assert read(tmp_path, content).names == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("cat;tomcat\ndog;hound\n", "line 1 (UTF-8): expected one label a line, found 'cat;tomcat': columns between ';'"),
        ("cat; tomcat\ndog\n", "'cat; tomcat': the sign ';' in a name"),
        ("cat|dog\nbird\n", "the sign '|' in a name"),
        ("0_cat\n1_dog\n", "numbers before the names that may be part of them"),
        ("id,name\n", "a header without rows"),
        ("a/1.jpg 0\na/2.jpg 1\n", "names of image files"),
        ("{\\rtf1 cat}", "JSON that cannot be read"),
        ("0\n1\n2\n", "'0': numbers and no names"),
        ("n01440764\nn01443537\n", "'n01440764': ids and no names"),
        ("0\tn01440764\n1\tn01443537\n", "ids alone"),
        ('{"0": "LABEL_0", "1": "LABEL_1"}', "placeholders"),
        ('{"0": "n01440764"}', "ids alone"),
        ('{"0": "cat", "0": "dog"}', "a key is given twice"),
        ('{"a": {"b": 1}}', "JSON that is no list of names"),
        ('["cat", 3]', "JSON that is no list of names"),
        ("[cat, dog]", "JSON that cannot be read"),
        ("{'0': 'cat'}", "JSON that cannot be read"),
        ("[" * 100_000, "JSON that cannot be read"),
        ("item {\n  id: 1\n}\n", "a label map"),
        ("item {\n  name: 'cat'\n", "a label map"),
        ("names:\n  cat: {id: 0}\n", "YAML of a form"),
        ("names: &a [cat\n", "YAML"),
        ("---\nnc: 3\n", "YAML without names:"),
        ('<?xml version="1.0"?>\n<a>\n', "XML"),
        ("<html><body>sign in</body></html>\n", "HTML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer"),
        ("classes= 80\ntrain = data/train.txt\n", "settings"),
        ("- cat\ndog\n", "'- cat': a list that is one in part only"),
        ("0 cat\n1 dog\nbird\n", "a number before some names only"),
        ("7 cat\n3 dog\n", "numbers before the names that do not count from 0 or 1"),
        ("player 1\nterminator 2\n", "numbers behind the names"),
        ("n02123045 cat\ndog\n", "an id before some names only"),
        ("Q146,house cat\nQ144,dog\n", "what may be ids"),
        ("nummer;bezeichnung\n0;Katze\n1;Hund\n", "a header of unknown words"),
        ("cat\t0\ndog\tone\n", "an id where the other lines have a name"),
        ("0,cat\n1,3\n", "line 2 (UTF-8): expected one label a line, found '1,3': an id where the other lines have a name; it begins"),
        ("id,name\n1\n2,dog\n", "found '1': 1 columns where the header has 2"),
        ("a\tb\tc\nd\te\tf\n", "columns without a header"),
        ('"cat\ndog\n', "a quote that is not closed"),
        ("# nothing\n", "names no label"),
        ("id,name\n0,cat\n1,cat\n", "more than once: cat (lines 2, 3)"),
        ('["cat", "cat"]', "more than once: cat"),
        ('["cat", "d\\u001bog"]', "the control character U+001B"),
        ('["cat", "\\ud800"]', "the character U+D800"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(tmp_path, content, words):
    with pytest.raises(LabelError) as refusal:
        read(tmp_path, content)
    assert words in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_file_that_says_what_it_is_must_be_it(tmp_path):
    assert read(tmp_path, "names: [cat, dog]", "data.yaml").names == PAIR
    with pytest.raises(LabelError, match=r"found 'nc: 3': no names as a \.yaml file gives them"):
        read(tmp_path, "nc: 3\ntrain: x\n", "data.yaml")
    with pytest.raises(LabelError, match=r"--labels away\.json: no such file"):
        label_reader("away.json")


def test_a_number_is_an_id_and_the_name_is_one_too():
    found = typed_labels("0 cat\n1 dog", "the list")
    assert found.indices(["cat", "1"]) == (0, 1)
    assert typed_labels("n02123045\tcat\nn02084071\tdog", "the list").indices(["cat"]) is None


def test_a_name_with_a_comma_is_one_id(tmp_path):
    found = read(tmp_path, '"cup, red"\n"cup, blue"\n')
    assert found.place == {"cup, red": 0, "cup, blue": 1}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"a red mug, half full", cat', ("a red mug, half full", "cat")),
        ('["cat", "dog"]', PAIR),
        ("0 cat, 1 dog", PAIR),
        ("no dogs, 1 dog, 2 dogs", ("no dogs", "1 dog", "2 dogs")),
        ("#1 dad, cat", ("#1 dad", "cat")),
        ("3d printer, 7-up", ("3d printer", "7-up")),
        ("id,name\n1,cat\n2,dog", PAIR),
    ],
)
def test_typed_labels_take_the_same_forms(text, names):
    assert typed_labels(text, "--labels").names == names


@pytest.mark.parametrize(
    "names",
    [PAIR, ("a, b", "c"), ('say "hi"', "'x'"), ("# x", "y"), ("0 cat", "1 dog"), ("7",), ("[x]", "{y}"), ("- a", "b"), ("name", "x")],
)  # fmt: skip
def test_names_written_as_lines_are_read_as_these_names(names):
    assert typed_labels(label_lines(names), "the list").names == names


@pytest.mark.parametrize(
    "text", [" " * 20_000, '"' * 19_999, "x" + " " * 19_000 + "1", "names:\n- a" + " " * 19_000 + "b", "item {" * 3_000, "0," * 9_999]
)  # fmt: skip
def test_no_text_takes_long(text):
    start = time.process_time()
    with contextlib.suppress(LabelError):
        typed_labels(f"{text}\n{text}", "the list")
    assert time.process_time() - start < 1
