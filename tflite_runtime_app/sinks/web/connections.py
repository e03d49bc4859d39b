"""Which connections stay when there are too many: whoever only drips must make room, whoever has shown the token goes last.

Nobody is refused for coming late. Behind a proxy or a tunnel the owner has the same address as everybody else, so a new connection always
gets in, and the one that has waited longest without a whole request ends instead.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

MOST, MOST_OF_ONE = 64, 16  # a browser opens six
YOUNG = 0.25  # seconds that a connection has for its first request, whatever else happens
MOST_WITH_YOUNG = 256  # beyond that the young ones go too: each takes a file and a few kilobytes


@dataclass(slots=True)
class Connection:
    """One client's connection: who, since when, whether a request of it was let in, and what it does since `since`."""

    address: str
    opened: float
    known: bool = False
    busy: bool = False
    sending: bool = False
    since: float = 0.0

    def waits(self, now: float) -> None:
        """Its next request is waited for."""
        self.busy = self.sending = False
        self.since = now

    def works(self, now: float) -> None:
        """Its answer is being made, which may take long."""
        self.busy, self.since = True, now

    def sends(self, now: float) -> None:
        """Its answer is on the way."""
        self.busy = self.sending = True
        self.since = now


class Connections:
    """The open connections, each under a key. Times are in seconds, of any clock."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Connection] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, key: Hashable, address: str, now: float) -> None:
        """`key` is open since `now`, from a numeric `address`; an IPv6 network of 64 bits is one client."""
        self._open[key] = Connection(_client(address), now, since=now)

    def get(self, key: Hashable) -> Connection | None:
        """What is known of `key`, None when it is not open."""
        return self._open.get(key)

    def remove(self, key: Hashable) -> None:
        """`key` is not open any more, if it was."""
        self._open.pop(key, None)

    def late(self, now: float, seconds: float) -> list[Hashable]:
        """Those that have not taken an answer for so long."""
        return [key for key, one in self._open.items() if one.sending and now - one.since > seconds]

    def surplus(self, now: float) -> list[Hashable]:
        """Those that have to go so that no client has more than MOST_OF_ONE and all have no more than MOST.

        First go those that never sent a whole request, the oldest first, then those that wait, then those that are being answered. Of all
        clients the one with the most connections gives first. Who has just come stays, unless there are more than MOST_WITH_YOUNG.
        """
        ranked = self._ranked()
        old = [(key, one) for key, one in ranked if one.known or now - one.opened >= YOUNG]
        gone = _too_many(old, MOST_OF_ONE, MOST)
        staying = [(key, one) for key, one in ranked if key not in gone]
        return [*gone, *_too_many(staying, MOST_WITH_YOUNG, MOST_WITH_YOUNG)]

    def least(self, count: int) -> list[Hashable]:
        """The `count` that would go first."""
        return [key for key, _ in self._ranked()[:count]]

    def _ranked(self) -> list[tuple[Hashable, Connection]]:
        return sorted(self._open.items(), key=lambda pair: (pair[1].known, pair[1].busy, pair[1].since))


def _too_many(ranked: Sequence[tuple[Hashable, Connection]], most_of_one: int, most: int) -> dict[Hashable, None]:
    """The keys that go, the first ones first, so that an address and all together have no more than so many."""
    left = Counter(one.address for _, one in ranked)
    gone: dict[Hashable, None] = {}
    for key, one in ranked:
        if left[one.address] > most_of_one:
            left[one.address] -= 1
            gone[key] = None
    while left.total() > most:
        staying = (pair for pair in ranked if pair[0] not in gone)
        key, one = max(staying, key=lambda pair: left[pair[1].address])  # of several the first, which is the oldest
        left[one.address] -= 1
        gone[key] = None
    return gone


def _client(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
