"""What may be said of addresses: all but what only their owner may know."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

ENCODE = "write / ? # @ : % and blanks of a user or password percent-encoded, as %2F %3F %23 %40 %3A %25 %20"

_SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]*:(?://|%2F%2F)|\b[a-z][a-z0-9+.-]*%3A%2F%2F", re.IGNORECASE)
_AT = re.compile(r"@|%40")
_HOST = r"(?:\[[^\]@]*\]|(?:\d+\.){3}\d+|localhost)"
# What is a host for certain: an address in numbers, or a name before a path. `NAME:1234/` may be a user and half a password.
_SURE_HOST = re.compile(rf"{_HOST}(?::\d*)?(?=[/?#]|$)|[^:@/?#%]+(?=/)", re.IGNORECASE)
_HOST_BEHIND = re.compile(rf"{_HOST}|[\w.-]+:\d", re.IGNORECASE)  # `TO/KEN@HOST:554` is no path
# Many cameras take the password in the query, or in the path in its form: rtsp://camera/user=admin_password=secret_channel=1
_NAME = (
    r"(?:pass(?:word|wd|w|wort|e|phrase|code|key)?|loginpas|pwd|psw|secret|token|key|auth|authorization|signature|authsign|credentials?"
    r"|session(?:_?id)?|sessid|jwt|ticket|nonce|hdn(?:ts|ea|tl)|(?<![a-z])(?:pas|pw|sig|sign|sid|hash|md5|otp|pin|api))\d?"
)
_MARK = r"[:;,.'\")\]>]*"  # of the sentence around an address, not of the address


def hide_credentials(text: str) -> str:
    """`text` with user and password of every URL in it, and what looks like a secret in its query, as ***.

    A password is hidden up to the last @ of its URL, whatever stands in it; a blank ends the URL.
    """
    return _hidden(text, r"\s")


def shown(word: str) -> str:
    """The one address, path or name `word` as it may be said; unlike in a sentence, blanks are part of it, and it may lack a scheme."""
    if not _SCHEME.match(word):
        user = re.match(r"(?:[a-z]+:)?/*[^@/]*:.*@", word, re.IGNORECASE | re.DOTALL)
        word = f"***@{word[user.end() :]}" if user else word
    return _hidden(word, r"(?!)")


def mistaken(word: str) -> bool:
    """Whether the URL `word` is cut short by what stands in its user or password, so that they need percent-encoding: `ENCODE`."""
    address = word[scheme.end() :] if (scheme := _SCHEME.match(word)) else word
    before, at, _ = address.rpartition("@")
    if not at:
        return False
    authority = _authority(address)
    rest = address[len(authority) :]
    try:
        parts = urlsplit(f"//{authority}")
        no_host = not parts.hostname or (parts.port or 0) < 0  # a port that is none raises
    except ValueError:
        no_host = True
    in_rest = "@" in rest and re.match(r"#|\?(?![\w-]+=)", rest) is not None
    return no_host or in_rest or re.search(r"[\s\x00-\x1f]", before) is not None


def _hidden(text: str, blank: str) -> str:
    kept, place = [], 0
    for scheme in _SCHEME.finditer(text):
        if scheme.start() < place:
            continue  # in what was hidden already
        end = re.compile(f"{blank}|$").search(text, scheme.end())
        address = text[scheme.end() : end.start() if end else len(text)]
        cut = _secret_length(address)
        kept += [text[place : scheme.end()], "***" if cut else ""]
        place = scheme.end() + cut
    return _query_hidden("".join([*kept, text[place:]]), blank)


def _secret_length(address: str) -> int:
    """How many letters of what follows `scheme://` are user and password."""
    signs = list(_AT.finditer(address))
    literal = [match.start() for match in signs if match[0] == "@"]
    last = literal[-1] if literal else signs[-1].start() if signs else -1
    authority = _authority(address)
    if last < 0:  # NAME:WORD where WORD is no port: a password, whatever became of its host
        return len(authority) if ":" in authority and not _is_host_and_port(authority) else 0
    host = _SURE_HOST.match(address)
    if host and last >= host.end() and not (":" not in host[0] and _HOST_BEHIND.match(address, last + 1)):
        return 0
    return last


def _authority(address: str) -> str:
    return re.split(r"[/?#]", address, maxsplit=1)[0]


def _is_host_and_port(authority: str) -> bool:
    return re.fullmatch(rf"(?:\[[^\]]*\]|[^:]*):?\d*{_MARK}", authority) is not None


def _query_hidden(text: str, blank: str) -> str:
    end = rf"&|%26|[_;][a-z]\w*=[^=&\s]|{_MARK}(?:{blank}|$)"
    return re.sub(rf"({_NAME}(?:=|%3D))(?!{end}).+?(?={end})", r"\1***", text, flags=re.IGNORECASE | re.DOTALL)
