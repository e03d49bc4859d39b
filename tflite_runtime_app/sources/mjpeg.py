"""A stream of JPEGs, one after the other without anything between, cut into the single ones."""

from __future__ import annotations

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length: TEM and the restarts


class Splitter:
    """Takes bytes as they come, gives each JPEG once it is whole, or, where it has no end marker, once the next one begins.

    Segments are skipped by their length, so that the thumbnail in one does not end the frame. What is no JPEG, or longer than `limit`
    bytes, is passed over up to the next start; `skipped` counts those bytes.
    """

    def __init__(self, limit: int = 32 << 20) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0  # how far the frame at the buffer's beginning is understood; 0: its start is still sought
        self._in_scan = self._scanned = False
        self.skipped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The JPEGs that `data` completes."""
        self._buffer += data
        whole = []
        while (end := self._step()) is not None:
            if end:
                whole.append(bytes(self._buffer[:end]))
                self._forget(end)
        return whole

    def _step(self) -> int | None:
        """One marker further: 0, or the end of the frame that is now whole; None when more bytes are needed."""
        if self._at == 0:
            return self._seek_start()
        if self._at > self._limit:
            return self._give_up()
        return self._scan() if self._in_scan else self._segment()

    def _seek_start(self) -> int | None:
        start = self._buffer.find(b"\xff\xd8\xff")
        drop = max(0, len(self._buffer) - 2) if start < 0 else start
        self.skipped += drop
        del self._buffer[:drop]
        if start < 0:
            return None
        self._at = 2
        return 0

    def _segment(self) -> int | None:
        buffer, at = self._buffer, self._at
        if len(buffer) < at + 2:
            return None
        code = buffer[at + 1]
        if buffer[at] == 0xFF and code == _START and self._scanned:
            return at  # the next one: this one came without its end
        if buffer[at] != 0xFF or code in (0x00, _START):
            return self._give_up()
        if code == 0xFF:  # a fill byte
            self._at += 1
            return 0
        if code == _END:
            return at + 2
        if code in _BARE:
            self._at += 2
            return 0
        if len(buffer) < at + 4:
            return None
        length = int.from_bytes(buffer[at + 2 : at + 4], "big")
        if length < 2:
            return self._give_up()
        self._at, self._in_scan = at + 2 + length, code == _SCAN
        self._scanned |= self._in_scan
        return 0

    def _scan(self) -> int | None:
        """Entropy-coded data, up to the next marker that is none of its own."""
        buffer = self._buffer
        while len(buffer) > self._at:
            found = buffer.find(b"\xff", self._at)
            if found < 0 or found + 1 >= len(buffer):
                self._at = len(buffer) if found < 0 else found
                return None if self._at <= self._limit else self._give_up()
            code = buffer[found + 1]
            if code != 0x00 and code not in _BARE:
                self._at, self._in_scan = found, False
                return 0
            self._at = found + 2
        return None

    def _give_up(self) -> int:
        """The frame at the beginning is none. The next start is sought behind what was understood of it: a thumbnail lies before that."""
        drop = min(self._at, len(self._buffer))
        self.skipped += drop
        self._forget(drop)
        return 0

    def _forget(self, count: int) -> None:
        """The first bytes are done with; what follows them is not understood yet."""
        del self._buffer[:count]
        self._at, self._in_scan, self._scanned = 0, False, False
