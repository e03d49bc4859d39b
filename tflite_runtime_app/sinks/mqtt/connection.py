"""What people are told of the broker: once that it is away or refuses, once that it is back, however often that happens in a row."""

from __future__ import annotations

import threading
from collections.abc import Callable

LONGER, LONGEST = 3.0, 600.0  # seconds that a connection must hold to be told of, after one that did not
SILENT = 15.0  # seconds for a first answer


class ConnectionNews:
    """Hears what happens to the connection, from any thread, and tells a line where it is news. Nothing in it is secret.

    A broker that throws us out as often as it takes us is away for whoever reads. So after a connection that broke within `LONGEST` seconds
    the next counts as a return only once it has held for a while, each time twice as long; `look` is called now and then to see that.
    """

    def __init__(self, place: str, prefix: str, tell: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._place, self._prefix, self._tell, self._clock = place, prefix, tell, clock
        self._lock = threading.Lock()
        self._since: float | None = None  # the connection that there is
        self._must_hold = 0.0
        self._told: set[str] = set()  # of this outage
        self._greeted = self._silent = self._refusing = False
        self._began = clock()

    def connected(self) -> None:
        """The broker has taken us."""
        with self._lock:
            self._since = self._clock()
        self.look()

    def refused(self, reason: str, credentials: bool) -> None:
        """The broker is there and does not take us, for our user and password or for another `reason`."""
        advice = "write those it knows as mqtt://USER:PASSWORD@HOST" if credentials else "see its own log"
        what = "user or password" if credentials else "us"
        self._refusing = True
        self._outage("refused", f"the broker refuses {what} ({reason}); {advice}")

    def absent(self, reason: str) -> None:
        """Nobody is there."""
        self._outage("away", f"no broker is reached there ({reason}); check host and port, and that it runs")

    def lost(self) -> None:
        """The connection is gone, or there will be none."""
        with self._lock:
            refused, self._refusing = self._refusing, False
            since, self._since = self._since, None
            lasted = self._clock() - since if since is not None else 0.0
            if since is not None:
                self._must_hold = 0.0 if lasted > LONGEST else min(max(LONGER, 2 * self._must_hold), LONGEST)
        if since is not None:
            again = "; if that goes on, see its log" if lasted < LONGER else ""
            self._outage("away", f"the broker closed the connection{again}")
        elif not refused:  # one that was refused is closed, too
            self.absent("who is there does not answer as a broker")

    def look(self) -> None:
        """The return is told when it is time, and that nothing was heard at all."""
        if not (self._greeted or self._told) and self._since is None and self._clock() - self._began > SILENT:
            self.absent(f"no answer for {SILENT:.0f} s")
        with self._lock:
            if self._silent or self._since is None or self._clock() - self._since < self._must_hold:
                return
            if self._told or not self._greeted:
                back = "the broker is back" if self._told else "connected"
                self._tell(f"--mqtt {self._place}: {back}; answers go to {self._prefix}/state")
            self._greeted = True
            self._told.clear()

    def ended(self) -> None:
        """Nothing more is told but that the broker never was there, if nobody knows yet."""
        with self._lock:
            if not (self._greeted or self._told or self._silent):
                self._tell(f"--mqtt {self._place}: the broker did not answer before the end; it was told nothing")
            self._silent = True

    def _outage(self, kind: str, line: str) -> None:
        with self._lock:
            if not self._silent and kind not in self._told:
                self._told.add(kind)
                self._tell(f"--mqtt {self._place}: {line}; it is tried again and again, and all else goes on")
