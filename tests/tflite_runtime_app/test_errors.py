"""What other libraries say is passed on in one line that ends with a whole word."""

import pytest

from tflite_runtime_app.errors import in_one_line


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("one\n  two\tthree ", "one two three"),
        ("Weights only \x1b[1mload\x1b[0m failed", "Weights only load failed"),
        ("\x1b[38;5;196mred\x1b[m, \x1b]8;;https://a.b\x1b\\a link\x1b]8;;\x1b\\", "red, a link"),
        ("a bell\x07 and a null\x00", "a bell? and a null?"),
        (ValueError("of a kind"), "of a kind"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_one_line_without_colours(said, line):
    assert in_one_line(said) == line


def test_what_is_long_ends_with_a_whole_word():
    words = ["word" + "x" * (n % 7) for n in range(200)]
    for most in range(40, 80):
        line = in_one_line(" ".join(words), most)
        assert line.endswith(" …")
        assert len(line) <= most + 2
        assert line.removesuffix(" …").split() == words[: len(line.split()) - 1]


def test_one_endless_word_is_cut_all_the_same():
    assert in_one_line("x" * 500, 20) == "x" * 20 + " …"
