"""`python -m models.recipe RECIPE --data FOLDER`: trains what a recipe says, packs the model folder and scores it.

Broken off at any time (Ctrl-C, --minutes), the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from models.recipe.plan import RecipeError, read

CLONE = Path(__file__).resolve().parents[2]


def main() -> int:
    """The exit code: 0 when all phases are done, 1 when time ran out before, 2 for a recipe or data that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m models.recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="as models/pocket/recipe.toml")
    parser.add_argument(
        "--train", type=Path, action="append", required=True, help="sheets, a tar or folders of WNID/image; may be given again"
    )
    parser.add_argument(
        "--validation", type=Path, required=True, help="a tar or folders of WNID/image; its first 1,010 judge the phases"
    )
    parser.add_argument(
        "--classes", type=Path, help="lines WNID<tab>names; default: the start's own labels, whose vectors lie ready"
    )
    parser.add_argument("--nouns", type=Path, help="words, one a line, over which the text tower is distilled")
    parser.add_argument(
        "--wordnet", type=Path, help="the folder of WordNet's data.noun, where a classifier's names have their places"
    )
    parser.add_argument("--start", type=Path, help="the folder to start from instead of the recipe's")
    parser.add_argument("--work", type=Path, help="for checkpoints and the log; default: build/NAME")
    parser.add_argument("--out", type=Path, help="the model folder; default: beside the recipe")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop at a checkpoint after so long")
    parser.add_argument("--device", default=None, help="cpu, cuda; default: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; default: all")
    given = parser.parse_args()
    from models.recipe.session import Places, carry_out  # torch takes seconds to import

    try:
        recipe = read(given.recipe)
        places = Places(
            train=tuple(given.train),
            validation=given.validation,
            classes=given.classes,
            start=given.start or CLONE / recipe.start,
            work=given.work or CLONE / "build" / recipe.name,
            out=given.out or given.recipe.resolve().parent,
            clone=CLONE,
            nouns=given.nouns,
            wordnet=given.wordnet,
        )
        done = carry_out(recipe, places, time.monotonic() + 60 * given.minutes, given.device, given.threads)
    except RecipeError as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("broken off; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
