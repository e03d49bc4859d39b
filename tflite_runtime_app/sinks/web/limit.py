"""How often something may happen: so many times within so many seconds, in bounded memory."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


class Limit:
    """At most `count` times within any `seconds`; from any thread."""

    def __init__(self, count: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._times: deque[float] = deque(maxlen=count)
        self._lock = threading.Lock()

    def full(self) -> bool:
        """Whether `take` would refuse now."""
        with self._lock:
            return self._full(self._clock())

    def take(self) -> bool:
        """True and counted, or False and not counted when it happened too often."""
        with self._lock:
            now = self._clock()
            if self._full(now):
                return False
            self._times.append(now)
            return True

    def _full(self, now: float) -> bool:
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._seconds


@dataclass(slots=True)
class _Guesser:
    limit: Limit
    last: bytes = b""


class Guesses:
    """Wrong tokens per address: `count` different ones within `seconds`, then it is blocked until some of them are old.

    The same wrong token again is no further guess: a page that was left open while the program was started anew repeats its old one
    for ever, and must not lock its owner out. Of more than `addresses` addresses the ones longest quiet are forgotten.
    """

    def __init__(self, count: int, seconds: float, addresses: int = 1000, clock: Clock = time.monotonic) -> None:
        self._count, self._seconds, self._addresses, self._clock = count, seconds, addresses, clock
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()
        self._lock = threading.Lock()

    def blocked(self, address: str) -> bool:
        """Whether `address` guessed wrong too often."""
        with self._lock:
            guesser = self._guessers.get(address)
        return guesser is not None and guesser.limit.full()

    def wrong(self, address: str, token: str) -> None:
        """`address` came with `token`, which is not the one."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            guesser = self._guessers.setdefault(address, _Guesser(Limit(self._count, self._seconds, self._clock)))
            self._guessers.move_to_end(address)
            if len(self._guessers) > self._addresses:
                self._guessers.popitem(last=False)
            if guesser.last != digest:
                guesser.last = digest
                guesser.limit.take()
