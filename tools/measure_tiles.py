"""How the time of int8 products goes up with their rows: by whole tiles of the kernel, not row by row.

    python tools/measure_tiles.py --tokens 34-43 --width 384 --hidden 1536 --heads 6 --blocks 12

Bare products of so many blocks (`convert/bench/floor.py`) on one thread for each number of tokens: medians of the process's own
milliseconds, and each as a multiple of the first. They take turns in an order drawn anew each round, each after an untimed run of its own.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from convert.bench.floor import floor_file
from convert.bench.full_network import Shape
from convert.bench.timing import interleave
from convert.support.progress import Silent


def bare(tokens: int, width: int, hidden: int, heads: int, blocks: int) -> Callable[[], tuple[()]]:
    """One invocation of the products of so many blocks."""
    products = Shape(tokens - 1, 1, width, heads, hidden, rotated=False).block * blocks
    interpreter = Interpreter(model_content=floor_file(products), num_threads=1)
    interpreter.allocate_tensors()

    def run() -> tuple[()]:
        interpreter.invoke()
        return ()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="34-43", help="first and last number of rows")
    for name, value in (("width", 384), ("hidden", 1536), ("heads", 6), ("blocks", 12), ("rounds", 50)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    first, last = map(int, given.tokens.split("-"))
    sizes = (given.width, given.hidden, given.heads, given.blocks)
    runs = {str(tokens): bare(tokens, *sizes) for tokens in range(first, last + 1)}
    times = interleave(runs, given.rounds, Silent(), clock=time.process_time)
    base = np.array(times[str(first)].whole)
    for tokens, found in times.items():
        print(f"{tokens:>5} tokens {found.spread.p50:7.2f} ms {np.median(found.whole / base):6.3f}")


if __name__ == "__main__":
    main()
