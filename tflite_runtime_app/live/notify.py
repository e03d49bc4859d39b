"""What systemd hears: that the program is ready and alive, how it is doing, and that it stops. Elsewhere nothing happens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """The socket that systemd named in the environment; nothing here ever blocks, fails, or raises."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._started = False

    def starting(self, seconds: float) -> bool:
        """Start-up may take so long from now on, whatever the unit allows it; nothing is said once it is over."""
        return not self._started and self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def ready(self) -> bool:
        """Start-up is over. True when systemd heard it, here and below."""
        self._started = True
        return self._send("READY=1")

    def alive(self) -> bool:
        """The watchdog may wait another time span; to be called only after real work was done."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """`text`, as one line, is what systemctl status shows."""
        return self._send("STATUS=" + " ".join(text.split()))

    def stopping(self) -> bool:
        """The program is about to end of its own will."""
        return self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        path = self._environment.get("NOTIFY_SOCKET", "")
        if not path.startswith(("/", "@")):
            return False
        address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else os.fsencode(path)  # @: Linux's abstract names
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(errors="replace"), address)
        except OSError:
            return False
        return True
