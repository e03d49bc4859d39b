"""Cleaning without ftfy: the same tables and the same text as with it, except where an encoding was mistaken."""

import unicodedata

import ftfy
import pytest
from ftfy import chardata

from convert.model.torchvision_ops import open_clip
from tflite_runtime_app.text import clean as ours
from tflite_runtime_app.text.clean import clean, repair

theirs = open_clip.tokenizer._clean_lower


def test_tables_are_ftfys():
    assert ours._ligatures() == chardata.LIGATURES
    assert ours._widths() == chardata.WIDTH_MAP
    assert ours._entities() == chardata.HTML_ENTITIES
    assert ours._UNWANTED == chardata.CONTROL_CHARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A  Red\tMug \r\n", "a red mug"),
        ("it’s “quoted” ʼn", "it's \"quoted\" 'n"),
        ("ﬂuﬃeﬆ Ĳsland", "fluffiest ijsland"),
        ("ＬＯＵＤ　ﾊﾟﾝ", "loud パン"),
        ("cafe\u0301 &eacute; &EACUTE; &#233; &#xe9;", "café é é é é"),
        ("fish &amp;amp; chips &lt;b&gt;", "fish & chips <b>"),
        ("1 < 2 &hellip; and\n&hellip;", "1 < 2 … and …"),  # html.unescape comes after, and knows no HTML on purpose
        ("a\x00b\x1b[31;1mred\x1b[0m\x7f\ufeff\ufffc", "abred"),
        ("x\u2028y\x85z\x93q\x94", 'x y…z"q"'),
        ("\ud83d\ude00 \ud83d", "😀 \ufffd"),
        ("İstanbul ſtrange Kelvin ÅNGSTRÖM", "i̇stanbul ſtrange kelvin ångström"),
        ("&bogus; &notit; &#0; &", "&bogus; ¬it; \ufffd &"),
        ("", ""),
        (" \u3000\xa0\u2003 ", ""),
    ],
)
def test_what_becomes_of_a_text_is_what_open_clip_makes_of_it(text, expected):
    assert clean(text) == expected == theirs(text)


@pytest.mark.parametrize("letter", ["a", "Ω", "中"])
def test_every_character_beside_a_letter(letter):
    """All that this Python's Unicode knows; what ftfy takes for a mistaken encoding is counted and is next to nothing."""
    known = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Co")]
    known = known[::7] if letter != "a" else known[:0x3000] + known[0x3000::29]
    wrong = [c for c in known if repair(letter + c + letter) != ftfy.fix_text(letter + c + letter)]
    assert len(known) > 10_000
    assert [c for c in wrong if not ftfy.badness.is_bad(letter + c + letter)] == []
    assert len(wrong) <= 5


def test_a_mistaken_encoding_is_the_one_thing_that_is_not_repaired():
    assert theirs("cafÃ©") == "café"
    assert clean("cafÃ©") == "cafã©"
