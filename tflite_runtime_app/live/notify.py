"""What systemd hears: that the program is ready and alive, how it is doing, and that it stops. Elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping

EVERY = 20.0  # seconds between two requests for more time to start


class Notifier:
    """The socket that systemd named in the environment; nothing here ever blocks, fails, or raises."""

    def __init__(self, environment: Mapping[str, str] | None = None, every: float = EVERY) -> None:
        self._environment = os.environ if environment is None else environment
        self._every = every
        self._started = threading.Event()
        self._granted = 0.0  # until when start-up may go on, in monotonic seconds
        self._thread: threading.Thread | None = None

    def starting(self, seconds: float) -> None:
        """Start-up may take `seconds` from now on, whatever the unit's TimeoutStartSec: systemd is asked for more time again and again.

        What hangs for longer is left to systemd. Once start-up is over this does nothing.
        """
        self._granted = time.monotonic() + seconds
        if self._thread is None and not self._started.is_set() and self._environment.get("NOTIFY_SOCKET"):
            self._thread = threading.Thread(target=self._extend, name="systemd", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread is to be had: then the unit's own time must do
                self._thread.start()

    def ready(self) -> bool:
        """Start-up is over. True when systemd heard it, here and below."""
        self._started.set()
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

    def _extend(self) -> None:
        while not self._started.wait(self._every):
            if time.monotonic() < self._granted:
                self._send(f"EXTEND_TIMEOUT_USEC={round(3e6 * self._every)}")

    def _send(self, message: str) -> bool:
        path = self._environment.get("NOTIFY_SOCKET", "")
        if not path.startswith(("/", "@")):
            return False
        address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else os.fsencode(path)  # @: Linux's abstract names
        try:
            import socket  # late: only a service has one

            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(errors="replace"), address)
        except OSError:
            return False
        return True
