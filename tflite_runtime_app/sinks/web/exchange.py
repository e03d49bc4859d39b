"""A request and its answer as plain values; what a client may have put into a header is taken apart here, and never raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: `target` as it stands in the first line, `headers` by names of any case, `address` it comes from."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str

    @property
    def path(self) -> str:
        """The path, with its escapes; "" where the target has none."""
        return self._parts()[0]

    def query(self, name: str) -> list[str]:
        """What the address gives for `name`, once for each time it stands there."""
        try:
            return parse_qs(self._parts()[1], keep_blank_values=True, errors="replace", max_num_fields=100).get(name, [])
        except ValueError:
            return []

    def header(self, name: str) -> str:
        """The header's value, "" where there is none."""
        return self.headers.get(name, "")

    def cookies(self, name: str) -> list[str]:
        """The values of the cookies of that name, whatever stands around them."""
        pairs = (part.partition("=") for part in self.header("Cookie").split(";"))
        return [value.strip().strip('"') for given, _, value in pairs if given.strip() == name]

    def content_length(self) -> int | None:
        """The bytes that the body is said to have, 0 where nothing is said; None for what is no number."""
        text = self.header("Content-Length")
        if not text:
            return 0
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def _parts(self) -> tuple[str, str]:
        target = self.target
        if not target.startswith("/"):  # the absolute form, which proxies send
            try:
                parts = urlsplit(target)
            except ValueError:
                return "", ""
            return parts.path or ("/" if parts.netloc else ""), parts.query
        path, _, query = target.partition("?")
        return path, query


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: an HTTP status, a body and its headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: Mapping[str, Any], status: int = 200) -> Answer:
    """`value` as an answer."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
