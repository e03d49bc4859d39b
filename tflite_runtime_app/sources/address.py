"""Addresses of streams without what only their owner may know."""

from __future__ import annotations

import re

_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
# Many cameras take the password in the query, or in the path in its form: rtsp://camera/user=admin_password=secret_channel=1
_SECRET = re.compile(r"((?:pass(?:word|wd)?|pwd|pw|token|secret|key|auth|signature|sig)=)[^\s&;/_'\"]+", re.IGNORECASE)


def hide_credentials(text: str) -> str:
    """`text` with user and password of every URL in it, and what looks like a secret in its query, as ***."""
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", text))
