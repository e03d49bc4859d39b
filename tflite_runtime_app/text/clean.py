"""A sentence as CLIP's tokenizer wants it: what ftfy and html repair, single spaces, lower case. In the standard library alone.

open_clip cleans with ftfy before it splits a sentence. The board takes the same steps without ftfy, but for one: text that was decoded by
the wrong encoding (mojibake, as in "cafÃ©") stays as it is.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from html.entities import html5

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TERMINAL_ESCAPE = re.compile("\033\\[((?:\\d|;)*)([a-zA-Z])")
_C1 = re.compile("[\x80-\x9f]")
_SURROGATES = re.compile("([\ud800-\udbff])([\udc00-\udfff])|[\ud800-\udfff]")
_LINE_BREAKS = re.compile("\r\n|[\r\u2028\u2029\u0085]")
_QUOTES = {**dict.fromkeys([0x02BC, *range(0x2018, 0x201C)], "'"), **dict.fromkeys(range(0x201C, 0x2020), '"')}
_UNWANTED: dict[int, None] = dict.fromkeys(
    [*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
)


def clean(text: str) -> str:
    """`text` repaired, every run of white space one space, none at either end, in lower case."""
    repaired = html.unescape(html.unescape(repair(text)))
    return " ".join(repaired.split()).lower()


def repair(text: str) -> str:
    """`text` line by line without entities (up to the first line with a "<": that is HTML on purpose), curly quotes, ligatures, odd widths,
    control characters and terminal escapes, composed (NFC).
    """
    lines, entities = [], True
    for line in text.split("\n"):
        entities = entities and "<" not in line
        lines.append(_settled(line, entities))
    return "\n".join(lines)


def _settled(line: str, entities: bool) -> str:
    """Repaired until there is nothing left to repair: one step can bring to light what another one mends."""
    while True:
        before = line
        if entities:
            line = _ENTITY.sub(_character, line)
        line = _C1.sub(_as_windows, line)
        line = line.translate(_ligatures()).translate(_widths()).translate(_QUOTES)
        line = _SURROGATES.sub(_joined, _LINE_BREAKS.sub("\n", line))
        line = unicodedata.normalize("NFC", _TERMINAL_ESCAPE.sub("", line).translate(_UNWANTED))
        if line == before:
            return line


def _character(match: re.Match[str]) -> str:
    """What an entity stands for; what is no entity, or not in full, stays."""
    entity = match.group()
    if entity.startswith("&#"):
        found = html.unescape(entity)
        return entity if ";" in found else found
    return _entities().get(entity, entity)


@functools.cache
def _entities() -> dict[str, str]:
    """Entities that end in a semicolon, and those in lower case also in upper case where that is not one of its own, as in &EACUTE;."""
    found = {f"&{name}": value for name, value in html5.items() if name.endswith(";")}
    for name, value in html5.items():
        upper = f"&{name.upper()}"
        if name.endswith(";") and name == name.lower() and html.unescape(upper) == upper:
            found[upper] = value.upper()
    return found


def _as_windows(match: re.Match[str]) -> str:
    """A C1 control character is meant as Windows-1252, as browsers read it."""
    byte = match.group().encode("latin-1")
    try:
        return byte.decode("windows-1252")
    except UnicodeDecodeError:  # five bytes mean nothing there
        return match.group()


def _joined(match: re.Match[str]) -> str:
    """A surrogate pair is the character it encodes, half of one nothing that can be known."""
    if match.group(1) is None:
        return "\ufffd"
    return chr(0x10000 + (ord(match.group(1)) - 0xD800) * 0x400 + (ord(match.group(2)) - 0xDC00))


@functools.cache
def _ligatures() -> dict[int, str]:
    """Latin ligatures and digraphs by the letters that Unicode says they are made of."""
    parts = {letter: unicodedata.decomposition(letter).split()[1:] for letter in "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬅﬆ"}
    return {ord(letter): "".join(chr(int(code, 16)) for code in codes) for letter, codes in parts.items()}


@functools.cache
def _widths() -> dict[int, str]:
    """Half-width and full-width forms by their ordinary forms."""
    forms = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFFF0)}
    return {0x3000: " "} | {code: form for code, form in forms.items() if form != chr(code)}
