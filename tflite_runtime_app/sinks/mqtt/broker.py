"""Which broker is published to, as the command line names it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sources.address import ENCODE, mistaken


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish; without a `prefix` the topics are the publisher's own (see `publisher`)."""

    host: str
    port: int = 1883
    prefix: str | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    @property
    def place(self) -> str:
        """Host and port, as they may be said."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_broker(url: str) -> Broker:
    """ "mqtt://user:secret@host:1883/prefix", or mqtts:// for TLS. Raises UsageError, without the password in it."""
    wrong = UsageError(f"--mqtt should be mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX], or mqtts:// for TLS; {ENCODE}")
    whole = url if "://" in url else f"mqtt://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()  # what no name server could be asked for raises here
    except ValueError:
        raise wrong from None
    # An @ in the prefix: the end of a password with a slash in it, which must not become a topic that everybody reads.
    if (
        mistaken(whole)
        or re.search(r"[\s\x00-\x1f]", whole)
        or re.search(r"[#+?@]", whole.partition("://")[2].removeprefix(parts.netloc))
    ):
        raise wrong
    if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0:
        raise wrong
    tls = parts.scheme == "mqtts"
    return Broker(
        host,
        port or (8883 if tls else 1883),
        parts.path.strip("/") or None,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        tls,
    )
