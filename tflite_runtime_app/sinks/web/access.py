"""Who may see the page: whoever has the token, and where there is none, this machine alone; and whose page may change things."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.web.limit import Clock, Guesses
from tflite_runtime_app.sinks.web.refused import Refused

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
GUESSES, GUESSES_SECONDS = 10, 60.0
# A form or a plain link of another page cannot send it, and a script of another page would have to ask first, which nobody answers.
OWN_HEADER, OWN_VALUE = "X-Classify", "page"


def token_for(bind: str, token: str | None) -> str | None:
    """The token for a page bound to `bind`: the given one, none on loopback, a new one elsewhere. Raises UsageError for a weak one."""
    if token is None:
        return None if is_loopback(bind) else secrets.token_urlsafe(16)
    if not TOKEN.fullmatch(token):
        raise UsageError(
            f"expected a token of 16 to 200 letters, digits, - and _, found {len(token)} characters; leave it out to get a good one"
        )
    return token


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost counts as reachable."""
    if bind == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False


class Access:
    """Lets requests in or raises Refused. `token` None: whoever calls this machine by a name of its loopback."""

    def __init__(self, bind: str, token: str | None, clock: Clock = time.monotonic) -> None:
        self._token = token
        self._names = {"localhost", "127.0.0.1", "::1", bind}
        self._guesses = Guesses(GUESSES, GUESSES_SECONDS, clock=clock)

    def check(self, host: str, address: str, tokens: Sequence[str]) -> None:
        """Returns for a request that may come in: its Host header, the address it comes from, and the tokens in it, "" for none."""
        if self._token is None:
            # A foreign page may have its own name lead to 127.0.0.1 (DNS rebinding), but the browser still says the name.
            if _name(host) not in self._names:
                raise Refused(
                    403, f"expected localhost as the address, found {host[:100]!r}; open the address that classify printed"
                )
            return
        given = [token for token in tokens if token]
        # The right one comes in whatever else came from its address: else another page in the owner's browser, or anybody behind the
        # same router, could lock the owner out. A token made here has 128 bits; nobody guesses it at any rate.
        if any(_same(token, self._token) for token in given):
            return
        blocked = bool(given) and self._guesses.blocked(address)
        for token in given:
            self._guesses.wrong(address, token)
        if blocked:
            raise Refused(
                429,
                "too many wrong tokens came from this address; open the whole address that classify printed",
                {"Retry-After": f"{GUESSES_SECONDS:.0f}"},
            )
        raise Refused(
            401,
            "expected the token of this run, found none that fits; open the whole address that classify printed",
            {"WWW-Authenticate": "Bearer"},
        )


def check_own_page(content_type: str, own: str, origin: str | None, host: str) -> None:
    """Returns when a request that changes something can only come from our own page or a program; raises Refused."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, f"expected Content-Type application/json, found {content_type[:100]!r}")
    if own != OWN_VALUE:
        raise Refused(403, f"expected the header {OWN_HEADER}: {OWN_VALUE}, which other pages cannot send")
    if origin is not None and not _is_own(origin, host):
        raise Refused(403, f"expected a request from this page, found one from {origin[:100]!r}")


def _is_own(origin: str, host: str) -> bool:
    """Whether an Origin header names `host`; what is no address names nothing."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _same(given: str, token: str) -> bool:
    """Whether two tokens are equal, in a time that does not tell how far they agree; what a client sends may be no proper text."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" for none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
