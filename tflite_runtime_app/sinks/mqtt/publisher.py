"""Who publishes: names that stay the same from start to start, and that no other board, source or process has."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import socket
from dataclasses import dataclass

from tflite_runtime_app.sources.address import shown

PREFIX = "clip-rescue"
MOST = 100  # processes of one board that publish the same


@dataclass(frozen=True, slots=True)
class Publisher:
    """One source of one board, as a broker and Home Assistant know it.

    `id` is twelve hexadecimal digits, `prefix` stands before its topics, `host` and `source` name it for people, without credentials.
    """

    id: str
    prefix: str
    host: str
    source: str

    @property
    def client_id(self) -> str:
        """Its name at the broker: 22 letters and digits, which every broker must take."""
        return f"cliprescue{self.id}"

    @property
    def node(self) -> str:
        """Its name at Home Assistant, before those of its entities."""
        return f"clip_rescue_{self.id}"

    @property
    def available(self) -> str:
        """The topic of "online" and "offline". Its own: the last will of another must not say that this one is gone."""
        return f"{self.prefix}/available/{self.id}"

    def topic(self, name: str) -> str:
        """The topic `name` under the prefix."""
        return f"{self.prefix}/{name}"


def publisher_of(prefix: str | None, source: str, board: str, host: str, number: int = 0) -> Publisher:
    """The publisher of `source` on `board` (what tells it from others, never shown), the `number`th, from 0, that publishes the same.

    Without a `prefix` its topics stand under clip-rescue/HOST-ID, with one under just that.
    """
    said = shown(os.path.abspath(source) if os.path.exists(source) else source)
    # As systemd asks of everyone who uses the machine id: hashed with a name of our own, so that nobody can trace it back.
    message = "\0".join(("clip-rescue mqtt", said, prefix or "", str(number)))
    found = hmac.new(board.encode(), message.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", host).strip("-") or "board"
    label = said if "://" in said else os.path.basename(said) or said
    label = re.sub(r"[^ -~]", "?", label)[:60]
    return Publisher(found, prefix or f"{PREFIX}/{name}-{found[:8]}", name, label + (f" {number + 1}" if number else ""))


class Claim:
    """`publisher` is the first of those of the source whose name no other process of this board has claimed, until `release` or the end.

    A broker throws out the older of two clients of one name, over and over; so the second takes another. Where the system has no abstract
    names for sockets (it is not Linux), it is always the first.
    """

    def __init__(self, prefix: str | None, source: str, board: str, host: str) -> None:
        self._held: socket.socket | None = None
        for number in range(MOST):
            self.publisher = publisher_of(prefix, source, board, host, number)
            try:
                self._held = _bound(self.publisher.client_id)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
            return

    def release(self) -> None:
        """Another process may have the name."""
        if self._held is not None:
            self._held.close()


def _bound(name: str) -> socket.socket | None:
    if not hasattr(socket, "AF_UNIX"):
        return None
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0{name}")
    except BaseException:
        held.close()
        raise
    return held
