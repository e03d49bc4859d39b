"""Makes models/recipe/hypernyms.tsv: what kinds of thing each class is, from WordNet 3.0's own files.

    python tools/make_hypernyms.py /usr/share/wordnet models/pocket/classes.tsv models/recipe/hypernyms.tsv    # Debian: wordnet-base

Writes a line `WNID<tab>kind, kind, …` for every class, the nearest kind first. Kinds of more than a third of the classes say too little
and are left out, so are those above depth 4 of WordNet's tree ("object", "whole").
"""

from __future__ import annotations

import argparse
from collections import Counter, deque
from pathlib import Path

MOST, SHALLOWEST = 1 / 3, 4


def nouns(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Synset offset -> its first word and the offsets of its hypernyms; the format is that of wndb(5WN)."""
    found = {}
    for line in (folder / "data.noun").read_text("latin-1").splitlines():
        if line.startswith("  "):
            continue  # the licence at the top
        words = line.split()
        pointers = 4 + 2 * int(words[3], 16)
        above = []
        for k in range(int(words[pointers])):
            symbol, offset, kind, _ = words[pointers + 1 + 4 * k : pointers + 5 + 4 * k]
            if symbol in ("@", "@i") and kind == "n":
                above.append(offset)
        found[words[0]] = (words[4].replace("_", " "), tuple(above))
    return found


def ancestors(offset: str, tree: dict[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    """All that lie above, the nearest first."""
    found: dict[str, None] = {}
    waiting = deque(tree[offset][1])
    while waiting:
        above = waiting.popleft()
        if above not in found:
            found[above] = None
            waiting.extend(tree[above][1])
    return list(found)


def depth(offset: str, tree: dict[str, tuple[str, tuple[str, ...]]]) -> int:
    """Steps to the top."""
    above = tree[offset][1]
    return 1 + min(depth(one, tree) for one in above) if above else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="the folder of data.noun")
    parser.add_argument("classes", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    tree = nouns(given.wordnet)
    ids = [line.partition("\t")[0] for line in given.classes.read_text("utf-8").splitlines()]
    above = {wnid: ancestors(wnid.removeprefix("n"), tree) for wnid in ids}
    shared = Counter(offset for kinds in above.values() for offset in kinds)
    lines = []
    for wnid, kinds in above.items():
        kept = [tree[o][0] for o in kinds if shared[o] <= MOST * len(ids) and depth(o, tree) >= SHALLOWEST]
        lines.append(f"{wnid}\t{', '.join(dict.fromkeys(kept or [tree[kinds[0]][0]]))}\n")
    given.output.write_text("".join(lines), "utf-8")
    print(f"{given.output}: {len(lines)} classes, {len({tree[o][0] for o in shared})} kinds above them")


if __name__ == "__main__":
    main()
