"""Words of strangers in a terminal and in a spreadsheet."""

import csv
import io

import pytest

from tests.tflite_runtime_app.sinks.results import result
from tflite_runtime_app.escaping.spreadsheet import cell
from tflite_runtime_app.escaping.terminal import escaped, escaped_lines
from tflite_runtime_app.sinks.base import Failure
from tflite_runtime_app.sinks.line import LineSink
from tflite_runtime_app.sinks.table import CsvSink


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\tb\0", r"a\r\tb\x00"),
        ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
        ("\x85\x9b31m", r"\x85\x9b31m"),
        ("a\u202eb\u2066c\u200e", r"a\u202eb\u2066c\u200e"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\ufeffa\u00adb", r"\ufeffa\xadb"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_escaped(text, harmless):
    assert escaped(text) == harmless
    assert escaped_lines(f"{text}") == harmless.replace(r"\n", "\n")


@pytest.mark.parametrize("text", ["café noir", "猫", "گربه", "می‌خواهم", "👨‍👩‍👧", "C:\\new\\x", "a  b", "🐈️"])
def test_what_can_be_read_stays(text):
    assert escaped(text) == text


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("before", ["", "\t", "\r", " ", "\n", "\u00a0", "\u3000", "\x00"])
def test_no_cell_begins_a_formula(before, sign):
    assert cell(f"{before}{sign}1+1")[0] in "'\\"


@pytest.mark.parametrize("text", ["", "cat", "a=b", "'x", "3d printer", "1-2"])
def test_other_cells_stay(text):
    assert cell(text) == text


def test_names_of_files_and_errors_are_words_in_csv_and_figures_stay_figures():
    out = io.StringIO()
    sink = CsvSink(out)
    answered = result("-label", steady="@steady")
    object.__setattr__(answered, "source", "=cmd|' /C calc'!A0\nb\x1b[31m.jpg")
    object.__setattr__(answered.answer.top[0], "cosine", -0.25)
    sink.result(answered)
    sink.failure(Failure("+1.jpg", 0, "=1: no\nsuch file"))
    assert len(out.getvalue().splitlines()) == 3
    first, second = csv.DictReader(io.StringIO(out.getvalue()))
    assert first["source"] == "'=cmd|' /C calc'!A0\\nb\\x1b[31m.jpg"
    assert (first["label"], first["steady"], first["cosine"]) == ("'-label", "'@steady", "-0.250000")
    assert (second["source"], second["error"]) == ("'+1.jpg", "'=1: no\\nsuch file")


def test_a_line_is_one_line_whatever_a_file_is_called():
    out, err = io.StringIO(), io.StringIO()
    sink = LineSink(out, err)
    answered = result("ca\x9bt")
    object.__setattr__(answered, "source", "a\nb\u202e.jpg")
    sink.result(answered)
    sink.failure(Failure("x", 0, "a\x1b]0;t\x07: no such\u2028file"))
    assert out.getvalue().startswith(r"a\nb\u202e.jpg  ca\x9bt 80.0%")
    assert out.getvalue().count("\n") == 1
    assert err.getvalue() == r"classify: a\x1b]0;t\x07: no such\u2028file" + "\n"
