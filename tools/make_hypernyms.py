"""Makes models/recipe/hypernyms.tsv: what kinds of thing each class is, from WordNet 3.0's own files.

    python -m tools.make_hypernyms /usr/share/wordnet models/pocket/classes.tsv models/recipe/hypernyms.tsv    # Debian: wordnet-base

Writes a line `WNID<tab>kind, kind, …` for every class, the nearest kind first. Kinds of more than a third of the classes say too little
and are left out, so are those above depth 4 of WordNet's tree ("object", "whole").
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from models.recipe.wordnet import read

MOST, SHALLOWEST = 1 / 3, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="the folder of data.noun")
    parser.add_argument("classes", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    tree = read(given.wordnet)
    ids = [line.partition("\t")[0] for line in given.classes.read_text("utf-8").splitlines()]
    above = {wnid: tree.ancestors(wnid) for wnid in ids}
    shared = Counter(one for kinds in above.values() for one in kinds)
    lines = []
    for wnid, kinds in above.items():
        kept = [tree.words[one][0] for one in kinds if shared[one] <= MOST * len(ids) and tree.depth(one) >= SHALLOWEST]
        lines.append(f"{wnid}\t{', '.join(dict.fromkeys(kept or [tree.words[kinds[0]][0]]))}\n")
    given.output.write_text("".join(lines), "utf-8")
    print(f"{given.output}: {len(lines)} classes, {len({tree.words[one][0] for one in shared})} kinds above them")


if __name__ == "__main__":
    main()
