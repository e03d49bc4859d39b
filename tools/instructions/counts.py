"""Instructions by function, as Valgrind and QEMU's plugin leave them in a file, and the difference of two runs."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

ELSEWHERE = "outside LiteRT"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one image: millions of instructions, the function that most of them are in, and its share."""

    millions: float
    kernel: str
    share: float


def of_cachegrind(text: str) -> Counter[str]:
    """Instructions by function from a file of cachegrind's."""
    found: Counter[str] = Counter()
    function = ELSEWHERE
    for line in text.splitlines():
        if line.startswith("fn="):
            function = line[3:]
        elif line[:1].isdigit():
            found[function] += int(line.split()[1])
    return found


def of_blocks(text: str, symbols: Mapping[int, str], start: int) -> Counter[str]:
    """Instructions by function from the plugin's lines, `ADDRESS SIZE RUNS` of a block each; LiteRT, whose functions `symbols` names by
    their places in it, begins at address `start`."""
    places = sorted(symbols)
    end = places[-1]
    found: Counter[str] = Counter()
    for line in text.splitlines():
        address, size, runs = line.split()
        place = int(address, 16) - start
        inside = places[0] <= place <= end
        found[symbols[places[bisect_right(places, place) - 1]] if inside else ELSEWHERE] += int(size) * int(runs)
    return found


def of_nm(text: str) -> dict[int, str]:
    """Functions by their places from what `nm` prints."""
    rows = (line.split(None, 2) for line in text.splitlines())
    return {int(row[0], 16): row[2] for row in rows if len(row) == 3 and row[1] in "tTwW"}


def an_image(few: Mapping[str, int], many: Mapping[str, int], images: int) -> Cost:
    """What one image costs when `many` had `images` more than `few`: starting and packing weights is in both. Raises ValueError when
    the longer run had no more instructions."""
    more = {name: count - few.get(name, 0) for name, count in many.items()}
    total = sum(many.values()) - sum(few.values())
    if total <= 0:
        raise ValueError(f"expected more instructions for {images} images more, found {total}; run it again")
    kernel = max(more, key=more.__getitem__)
    return Cost(total / images / 1e6, kernel, more[kernel] / total)
