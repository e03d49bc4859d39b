"""The board's tokenizer gives open_clip's tokens, one for one, on more than ten thousand strings."""

import gzip
import random
import unicodedata
from pathlib import Path

import ftfy
import pytest
import regex

from convert.model.torchvision_ops import open_clip
from tests.clone import ROOT
from tflite_runtime_app.text.clean import repair
from tflite_runtime_app.text.tokenizer import MERGES, Tokenizer, split

WORDNET = ROOT.parent / "shared" / "data" / "wordnet-nouns.txt"  # more names, where they are
THEIRS = open_clip.tokenizer
PIECES = [
    *(
        "&amp;",
        "&lt;",
        "&LT",
        "&eacute;",
        "&EACUTE;",
        "&#233;",
        "&#x2019;",
        "&amp;amp;",
        "&nbsp",
        "&notit;",
        "&#0;",
        "&bogus;",
        "<b>",
    ),
    *(
        "’",
        "‘",
        "“",
        "”",
        "…",
        "ﬁ",
        "ﬆ",
        "ĳ",
        "ŉ",
        "Ａ",
        "５",
        "ｶﾞ",
        "ﾊﾟ",
        "e\u0301",
        "a\u0308",
        "\u0301",
        "\u0345",
        "İ",
        "ſ",
        "\u212a",
        "\u212b",
    ),
    *(
        "日本語",
        "한국어",
        "ไทย",
        "हिन्दी",
        "عربى",
        "🐱",
        "👨\u200d👩\u200d👧",
        "🇩🇪",
        "①",
        "Ⅳ",
        "½",
        "٣",
        "一二",
        "〇",
        "x²",
        "°C",
        "№",
        "—",
        "–",
        "•",
    ),
    *(
        "'s",
        "'T",
        "n't",
        "'ll",
        "'re",
        "'VE",
        "'m",
        "'d",
        "''",
        "-'s",
        "'ſ",
        "don't",
        "O'Brien",
        "rock'n'roll",
        "K9",
        "2026",
        "3.14",
    ),
    *("_", "#1", "$5.99", "100%", "C++", "a/b", "\\n", "À", "É", "ÿ", "naïve", "Ünïcödé", "<start_of_text>", "<END_OF_TEXT>"),
]
SPACES = ["", " ", "  ", "\t", "\r\n", "\u2028", "\u3000", "\xa0", "\u200b", "\x1b[31m", "\x00", "\x7f", "\ufeff", "\x1c"]
PLANES = [(32, 126), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0xAC00, 0xD7A3)]
PLANES += [(0xF900, 0xFFEF), (0x1F000, 0x1FAFF), (0x20000, 0x20FFF)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.fixture(scope="module")
def reference():
    return THEIRS.SimpleTokenizer(context_length=32)


def names() -> list[str]:
    lines = (ROOT / "models" / "pocket" / "classes.tsv").read_text("utf-8").splitlines()
    own = [name.strip() for line in lines for name in line.split("\t")[1].split(",")]
    found = [*own, *open_clip.IMAGENET_CLASSNAMES]
    return found + (random.Random(0).sample(WORDNET.read_text("utf-8").splitlines(), 4000) if WORDNET.is_file() else [])


def strings() -> list[str]:
    draw, known = random.Random(1), names()
    plain = [text for name in known for text in (name, f"a photo of a {name}.", name.upper())]
    mixed = [
        draw.choice(SPACES).join(draw.choice(PIECES if draw.random() < 0.5 else known) for _ in range(draw.randint(1, 8)))
        for _ in range(5000)
    ]
    wild = ["".join(chr(draw.randint(*draw.choice(PLANES))) for _ in range(draw.randint(1, 20))) for _ in range(3000)]
    long = [
        "x" * 2000,
        "ab " * 2000,
        "!" * 2000,
        "1" * 500,
        "é中" * 300,
        "",
        "   ",
        "a" * 31,
        *(" ".join("b" * n) for n in range(28, 34)),
    ]
    return [*plain, *mixed, *wild, *long]


def looks_mistaken(text: str) -> bool:
    """Whether ftfy takes the text, or what is left of it when all else is repaired, for one that was decoded by a wrong encoding."""
    return ftfy.badness.is_bad(text) or ftfy.badness.is_bad(repair(text))


def unknown_here(text: str) -> bool:
    """Whether it has characters that this Python's Unicode is too old for: `regex` brings a newer one."""
    return any(unicodedata.category(character) == "Cn" for character in text)


def theirs(reference, text: str) -> list[int]:
    """As SimpleTokenizer.__call__ does it, without the zeros."""
    ids = [reference.sot_token_id, *reference.encode(text), reference.eot_token_id]
    return ids if len(ids) <= 32 else [*ids[:31], reference.eot_token_id]


def test_token_for_token(tokenizer, reference):
    every = strings()
    assert len(every) >= 10_000
    differing = [text for text in every if tokenizer.encode(text, 32) != theirs(reference, text)]
    assert [text for text in differing if not (looks_mistaken(text) or unknown_here(text))] == []
    # All of them are noise made to be hard, and the fewer ordinary names there are beside it, the larger is its share.
    assert len(differing) <= len(every) / 500, f"{len(differing)} of {len(every)} differ"


def test_cut_and_padded_as_open_clip_does(tokenizer, reference):
    texts = ["cat", " ".join("abcdefgh" * 10), "a photo of a red fox, " * 9]
    for row, text in zip(reference(texts).tolist(), texts, strict=True):
        ids = tokenizer.encode(text, 32)
        assert row == ids + [0] * (32 - len(ids))


def test_the_merges_are_openais_own():
    whole = gzip.decompress(Path(THEIRS.default_bpe()).read_bytes()).decode().split("\n")
    shipped = ROOT / "tflite_runtime_app" / "text" / MERGES
    assert gzip.decompress(shipped.read_bytes()).decode().splitlines() == whole[1 : 49152 - 256 - 2 + 1]
    assert shipped.stat().st_size < 250_000


def test_character_classes_are_those_of_regex():
    """Over all of Unicode that this Python knows, with the classes of CLIP's pattern and without regard to case, as there."""
    patterns = [regex.compile(pattern, regex.IGNORECASE) for pattern in (r"[\p{L}]+", r"[\p{N}]", r"[^\s\p{L}\p{N}]+")]
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) == "Cn" or 0x1C <= code <= 0x1F:  # str.isspace takes these four; cleaning removes them
            continue
        letter, number, other = (pattern.match(character) is not None for pattern in patterns)
        expected = [character * 2] if letter or other else [character, character] if number else []
        assert list(split(character * 2)) == expected, hex(code)
        assert (len(list(split(f"a{character}"))) == 1) == (letter or not (number or other)), hex(code)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't", ["don", "'t"]),
        ("'tis o'clock's", ["'t", "is", "o", "'", "clock", "'s"]),
        ("a 42nd b-52", ["a", "4", "2", "nd", "b", "-", "5", "2"]),
        ("--'s", ["--'", "s"]),
        ("x<end_of_text>y", ["x", "<end_of_text>", "y"]),
        ("-<end_of_text>y", ["-<", "end", "_", "of", "_", "text", ">", "y"]),
    ],
)
def test_words(text, words):
    assert list(split(text)) == words
