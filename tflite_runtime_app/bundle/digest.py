"""SHA-256 as lower-case hex, the form in which the manifest, the zip comment and the workshop write digests."""

from __future__ import annotations

import hashlib


def sha256_hex(data: bytes | memoryview) -> str:
    """The SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
